"""Local snapshots of dedupe state: consumes committed records of `dedupe.log`, produces blocks to restore.

Fingerprints never change, so a snapshot is not rewritten but added to: one file of packed fingerprints per
stream and time bucket, and a manifest that says how far each file counts, with its digest, and which record
of the log was the last. The manifest is replaced atomically after the files were forced to disk; what lies
beyond its lengths is cut off. A snapshot holds the log up to that record and nothing else, so that snapshot
and log cannot disagree. Nothing here is ever evaluated: fixed binary fields, MessagePack of plain values.
"""

import fcntl
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final, Self

import msgspec

from schemas.errors import Retryable

_MAGIC: Final = b"HRDEDUP1"
_BLOCK_BYTES: Final = 4 * 1024 * 1024  # a multiple of the size of any entry
_MANIFEST: Final = "manifest"

Entry = tuple[str, float, int, bytes]
"""As in `dedupe.log`: stream, length of a bucket in seconds, bucket, packed fingerprints."""


class SnapshotError(Retryable):
    """The snapshot cannot be used: torn, damaged, or of another log."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """A file of fingerprints: the first `length` bytes count and have this digest (XXH3, 128 bits)."""

    name: str
    stream: str
    bucket_s: float
    bucket: int
    length: int
    digest: bytes

    @property
    def ends_s(self) -> float:
        """Return when the bucket ended, in seconds since 1970."""
        return (self.bucket + 1) * self.bucket_s


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """What it holds: the log's name, the moment from which it is complete, the last record and the files."""

    log: str
    since_s: float
    offset: int
    record: bytes
    parts: list[Part]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Manifest).decode
_entries = msgspec.msgpack.Decoder(list[Entry]).decode


def _digest(value: bytes = b"") -> "hashlib.blake2b":
    return hashlib.blake2b(value, digest_size=16)


def record_digest(value: bytes) -> bytes:
    """Return the digest by which a record of the log is recognised."""
    return _digest(value).digest()


class Snapshot:
    """A snapshot that was checked from end to end, to be read."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self._folder = folder
        self.manifest = manifest

    @classmethod
    def load(cls, folder: Path, log: str) -> Self | None:
        """Check a snapshot and return it; None when there is none.

        Raises:
            SnapshotError: it is damaged, or of another log.
        """
        try:
            raw = (folder / _MANIFEST).read_bytes()
        except FileNotFoundError:
            return None
        snapshot = cls(folder, _parsed(raw, log))
        for part in snapshot.manifest.parts:
            state = _digest()
            for block in snapshot._blocks(part):
                state.update(block)
            if state.digest() != part.digest:
                raise SnapshotError(f"{folder / part.name} is not what its manifest says")
        return snapshot

    def sizes(self, since_s: Mapping[str, float]) -> dict[str, int]:
        """Return how many bytes each stream has in the buckets that ended at `since_s` or later."""
        sizes: dict[str, int] = {}
        for part in self._wanted(since_s):
            sizes[part.stream] = sizes.get(part.stream, 0) + part.length
        return sizes

    def entries(self, since_s: Mapping[str, float]) -> Iterator[Entry]:
        """Yield what it holds, some megabytes at a time, oldest first; streams not in `since_s` left out."""
        for part in self._wanted(since_s):
            for block in self._blocks(part):
                yield part.stream, part.bucket_s, part.bucket, block

    def _wanted(self, since_s: Mapping[str, float]) -> list[Part]:
        found = [p for p in self.manifest.parts if p.ends_s >= since_s.get(p.stream, float("inf"))]
        return sorted(found, key=lambda part: part.ends_s)

    def _blocks(self, part: Part) -> Iterator[bytes]:
        left = part.length
        try:
            with (self._folder / part.name).open("rb") as file:
                while left:
                    block = file.read(min(left, _BLOCK_BYTES))
                    if not block:
                        raise SnapshotError(f"{self._folder / part.name} is shorter than its manifest says")
                    left -= len(block)
                    yield block
        except FileNotFoundError as error:
            raise SnapshotError(f"{self._folder / part.name} is missing") from error


class _Open:
    """A file that is being added to."""

    def __init__(self, file: IO[bytes], state: "hashlib.blake2b", length: int) -> None:
        self.file = file
        self.state = state
        self.length = length


class SnapshotWriter:
    """Adds to a snapshot; one writer at a time holds the folder. To be closed.

    `offset` and `record` are those of the last record it holds (-1: none), `since_s` the moment from which it
    is complete.
    """

    def __init__(self, folder: Path, log: str) -> None:
        self._folder = folder
        self._log = log
        self._stack = ExitStack()
        self._dirty: set[str] = set()
        self._open: dict[str, _Open] = {}
        self._parts: dict[tuple[str, float, int], Part] = {}
        self._numbers = 0
        self.offset = -1
        self.record = b""
        self.since_s = float("inf")

    def open(self) -> None:
        """Take the folder, and up what valid is in it.

        Raises:
            SnapshotError: another process writes here.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = self._stack.enter_context((self._folder / "lock").open("ab"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SnapshotError(f"another process writes to {self._folder}") from error
        self._resume()

    def close(self) -> None:
        """Let the folder go; what was not committed is cut off by the next writer."""
        for target in self._open.values():
            target.file.close()
        self._open.clear()
        self._stack.close()

    def add(self, records: Iterable[tuple[int, bytes]]) -> None:
        """Add committed records of the log, `(offset, value)`; offsets only grow.

        Raises:
            OSError: the disk is full or away; close the writer, and begin anew.
        """
        last: tuple[int, bytes] | None = None
        for last in records:
            for stream, bucket_s, bucket, packed in _entries(last[1]):
                target = self._target(stream, bucket_s, bucket)
                target.file.write(packed)
                target.state.update(packed)
                target.length += len(packed)
        if last is not None:
            self.offset, self.record = last[0], record_digest(last[1])

    def commit(self, before_s: float) -> None:
        """Make what was added count, and drop buckets that ended before `before_s`.

        Raises:
            OSError: the disk is full or away; close the writer, and begin anew.
        """
        for name in self._dirty:
            target = self._open[name]
            target.file.flush()
            os.fsync(target.file.fileno())
        self._dirty.clear()
        dropped = [key for key, part in self._parts.items() if part.ends_s < before_s]
        names = [self._parts.pop(key).name for key in dropped]
        for key, part in self._parts.items():
            if part.name in self._open:
                target = self._open[part.name]
                self._parts[key] = msgspec.structs.replace(
                    part, length=target.length, digest=target.state.digest()
                )
        self.since_s = max(self.since_s, before_s)
        parts = list(self._parts.values())
        self._replace(Manifest(self._log, self.since_s, self.offset, self.record, parts))
        for name in names:
            if name in self._open:
                self._open.pop(name).file.close()
            (self._folder / name).unlink(missing_ok=True)

    def _resume(self) -> None:
        """Take up what is there and valid; anything else is removed."""
        try:
            found = Snapshot.load(self._folder, self._log)
        except SnapshotError:
            found = None  # whoever restores from it warns; here it is begun anew
        if found is None:
            self.reset(float("inf"))
            return
        manifest = found.manifest
        self.offset, self.record, self.since_s = manifest.offset, manifest.record, manifest.since_s
        self._parts = {(part.stream, part.bucket_s, part.bucket): part for part in manifest.parts}
        known = {part.name for part in manifest.parts}
        self._numbers = max((int(name[:8], 16) for name in known), default=0)
        for file in self._folder.glob("*.fp"):
            if file.name not in known:
                file.unlink()

    def reset(self, since_s: float) -> None:
        """Forget everything; what is added from now on will be the log from `since_s` on."""
        for target in self._open.values():
            target.file.close()
        self._open.clear()
        self._parts.clear()
        self._dirty.clear()
        self.offset, self.record, self.since_s = -1, b"", since_s
        (self._folder / _MANIFEST).unlink(missing_ok=True)
        for file in self._folder.glob("*.fp"):
            file.unlink()

    def _target(self, stream: str, bucket_s: float, bucket: int) -> "_Open":
        part = self._parts.get((stream, bucket_s, bucket))
        if part is None:
            self._numbers += 1
            part = Part(f"{self._numbers:08x}.fp", stream, bucket_s, bucket, 0, b"")
            self._parts[stream, bucket_s, bucket] = part
        self._dirty.add(part.name)
        return self._open.get(part.name) or self._reopen(part)

    def _reopen(self, part: Part) -> _Open:
        file = (self._folder / part.name).open("a+b")  # closed with its part, or by `close`
        file.truncate(part.length)
        state = _digest()
        file.seek(0)
        for block in iter(lambda: file.read(_BLOCK_BYTES), b""):
            state.update(block)
        opened = self._open[part.name] = _Open(file, state, part.length)
        return opened

    def _replace(self, manifest: Manifest) -> None:
        body = _encode(manifest)
        new = self._folder / "manifest.new"
        with new.open("wb") as file:
            file.write(_MAGIC + record_digest(body) + body)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._folder / _MANIFEST)
        directory = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _parsed(raw: bytes, log: str) -> Manifest:
    body = raw[len(_MAGIC) + 16 :]
    if raw[: len(_MAGIC)] != _MAGIC or record_digest(body) != raw[len(_MAGIC) : len(_MAGIC) + 16]:
        raise SnapshotError("its manifest is damaged")
    try:
        manifest = _decode(body)
    except msgspec.DecodeError as error:
        raise SnapshotError(f"its manifest cannot be read: {error}") from error
    if manifest.log != log:
        raise SnapshotError(f"it is of {manifest.log}, not of {log}")
    names = re.compile(r"[0-9a-f]{8}\.fp")
    if not all(names.fullmatch(part.name) and part.length >= 0 for part in manifest.parts):
        raise SnapshotError("its manifest names what cannot be")
    return manifest
