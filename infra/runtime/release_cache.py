"""What a worker fetched of a release store: consumes announcements, produces folders named by their sha256.

One folder serves all workers of a data folder. Whoever serves a release, or keeps it warm to go back to,
holds a shared lock on its folder, which ends with the process; those used least lately go first when there
is no room, and one that anybody holds never does.
"""

import fcntl
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from infra.runtime.log import get_logger
from infra.runtime.object_store import ObjectStore, StoreRefused
from infra.runtime.transfer import Pause, download, folder_bytes, stored_manifest, whole

_log = get_logger(__name__)


class ReleaseCache:
    """The folders under `folder`, at most `limit_bytes` of them all. All calls block."""

    def __init__(self, store: ObjectStore, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self._store = store
        self._limit_bytes = limit_bytes
        self._held: dict[str, int] = {}

    def fetched(self, uri: str, sha256: str, pause: Pause) -> Path:
        """Return the folder of an announced release, verified, and hold it; fetch it where it is not there.

        Raises:
            StoreRefused: it must not be used, or there is no room for it.
            StoreAway: it is not here and the store does not answer.
        """
        self._store.place(uri)
        if len(sha256) != 64 or not sha256.isalnum():
            raise StoreRefused(f"sha256: {sha256!r} is none")
        target = self.folder / sha256
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if target.is_dir() and not whole(target, sha256, pause):
                _log.warning("fetched.broken", folder=str(target))
                self._drop(target)
            if not target.is_dir():
                payload, manifest = stored_manifest(self._store, uri, sha256)
                self._make_room(folder_bytes(self._store, uri, manifest))
                download(self._store, uri, payload, manifest.files, target, pause)
                _log.info("release.fetched", uri=uri, sha256=sha256)
            os.utime(target)
            self._hold(sha256)
        return target

    def keep(self, used: Collection[str]) -> None:
        """Hold only these from here on, of what was fetched; the others may go when room is needed."""
        for sha256 in self._held.keys() - set(used):
            os.close(self._held.pop(sha256))

    def _hold(self, sha256: str) -> None:
        if sha256 not in self._held:
            descriptor = os.open(self.folder / sha256, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            self._held[sha256] = descriptor

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process of this data folder fetch or remove at a time; the next finds what it needs."""
        with (self.folder / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_room(self, needed: int) -> None:
        """Remove the folders that were used least lately, until `needed` more bytes fit."""
        for left in self.folder.glob(".fetching-*"):  # of a process that was killed: we are alone
            shutil.rmtree(left, ignore_errors=True)
        folders = sorted(
            (entry for entry in self.folder.iterdir() if entry.is_dir()),
            key=lambda entry: entry.stat().st_mtime,
        )
        sizes = {folder: _bytes(folder) for folder in folders}
        for folder in folders:
            if sum(sizes.values()) + needed <= self._limit_bytes:
                return
            if not self._in_use(folder):
                self._drop(folder)
                del sizes[folder]
                _log.info("fetched.removed", sha256=folder.name)
        if (taken := sum(sizes.values())) + needed > self._limit_bytes:
            raise StoreRefused(
                f"it has {needed} bytes and those in use {taken}, together more than releases.cache_bytes,"
                f" {self._limit_bytes}; raise it"
            )

    def _in_use(self, folder: Path) -> bool:
        """Tell whether any process holds a folder, this one included."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _drop(self, folder: Path) -> None:
        """Remove a folder; broken off, it leaves none of its name that looks whole."""
        self._let_go(folder.name)
        doomed = folder.with_name(f".fetching-{folder.name}-removed")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def _let_go(self, sha256: str) -> None:
        if sha256 in self._held:
            os.close(self._held.pop(sha256))


def _bytes(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += file.stat().st_size if file.is_file() else 0
    return total
