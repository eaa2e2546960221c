"""Where release folders lie: the data folder, and behind it the store that `releases.url` names, if one is.

    trainer ─▶ <home>/releases/MODEL/VERSION ─▶ store ─▶ the same on another machine, or serving's cache

Whoever works with a whole release (the trainer, `headrace models`) works in the data folder, and has fetched
there what it lacks. Serving has a cache of its own (`release_cache`). All calls block.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from infra.runtime.log import get_logger
from infra.runtime.object_store import MANIFEST, ObjectStore, StoreAway, StoreRefused
from infra.runtime.release_cache import ReleaseCache
from infra.runtime.settings import Settings
from infra.runtime.transfer import (
    download,
    folder_bytes,
    stored_manifest,
    upload,
)
from schemas.config import Headrace
from schemas.errors import Fatal
from schemas.release import Manifest, Release

_log = get_logger(__name__)


def cache_of(settings: Settings) -> ReleaseCache | None:
    """Return the cache that serving fetches releases into; none where they lie in the data folder.

    Raises:
        Fatal: the store's credentials are missing.
    """
    config = settings.config.releases
    if not config.url:
        return None
    return ReleaseCache(ObjectStore(config), settings.home / "fetched", config.cache_bytes)


class Releases:
    """The release folders under `folder`, and the store behind them."""

    def __init__(self, folder: Path, store: ObjectStore | None = None) -> None:
        self.folder = folder
        self._store = store

    @classmethod
    def of(cls, home: Path, config: Headrace) -> "Releases":
        """Return the releases of an installation.

        Raises:
            Fatal: the store's credentials are missing.
        """
        return cls(home / "releases", ObjectStore(config.releases) if config.releases.url else None)

    def publish(self, release: Release) -> Release:
        """See that a release's folder is where serving looks for it; return the release with that address.

        Raises:
            Fatal: another release of that number is there.
            StoreAway: the store failed; nothing there looks like a release.
        """
        located = self.located(release)
        if self._store is not None and located is not release:
            upload(self._store, self._path(release.model, release.version), release.model, release.version)
            _log.info("release.uploaded", model=release.model, version=release.version, uri=located.uri)
        return located

    def located(self, release: Release) -> Release:
        """Return a release with its address in the store, itself where it has one already."""
        if self._store is None or not release.uri.startswith("file:"):
            return release
        return msgspec.structs.replace(release, uri=self._store.uri(release.model, release.version))

    def published_before(self, release: Release) -> Release:
        """Return a release that served before, with its address; no store that is away keeps from it."""
        try:
            return self.publish(release)
        except StoreAway as error:
            _log.warning("release.unseen", model=release.model, version=release.version, reason=str(error))
            return self.located(release)

    def near(self, release: Release) -> Release:
        """Return a release with the address of its folder here, fetched where it was not.

        Raises:
            Fatal: what lies here or in the store under its number is another release, or is broken.
            StoreAway: it is not here and the store failed.
        """
        if self._store is None or release.uri.startswith("file:"):
            return release
        path = self._path(release.model, release.version)
        try:
            if not (path / MANIFEST).is_file():
                payload, manifest = stored_manifest(self._store, release.uri, release.sha256)
                self._fetch(release.uri, payload, manifest, path)
        except StoreRefused as error:
            raise Fatal(f"{release.model} {release.version} cannot be fetched: {error}") from error
        if hashlib.sha256((path / MANIFEST).read_bytes()).hexdigest() != release.sha256:
            raise Fatal(f"{path} is another release than the one in {release.uri}; move it away")
        return msgspec.structs.replace(release, uri=path.absolute().as_uri())

    def bring(self, model: str, version: int) -> bool:
        """See that a version's folder is here; tell whether there is such a version.

        Raises:
            Fatal: what lies in the store is broken.
            StoreAway: it is not here and the store failed.
        """
        path = self._path(model, version)
        if (path / MANIFEST).is_file():
            return True
        if self._store is None or version not in self.stored(model).get(model, ()):
            return False
        try:
            payload, manifest = self._read(model, version)
            self._fetch(self._store.uri(model, version), payload, manifest, path)
        except StoreRefused as error:
            raise Fatal(f"{model} {version} cannot be fetched: {error}") from error
        return True

    def stored(self, model: str = "") -> Mapping[str, list[int]]:
        """Return the versions in the store, of one model or of all; nothing where there is none."""
        return {} if self._store is None else self._store.versions(model)

    def manifest(self, model: str, version: int) -> Manifest:
        """Return the manifest of a version in the store.

        Raises:
            StoreRefused: it is not there, or cannot be read.
        """
        return self._read(model, version)[1]

    def delete(self, model: str, version: int) -> None:
        """Delete a version in the store, its manifest first: what is left of it then is no release."""
        if self._store is None:
            return
        place = self._store.place(self._store.uri(model, version))
        self._store.delete(place, MANIFEST)
        for name in self._store.sizes(place):
            self._store.delete(place, name)

    def _read(self, model: str, version: int) -> tuple[bytes, Manifest]:
        if self._store is None:
            raise StoreRefused(f"{model} {version}: there is no store")
        uri = self._store.uri(model, version)
        return stored_manifest(self._store, uri)

    def _fetch(self, uri: str, payload: bytes, manifest: Manifest, path: Path) -> None:
        if self._store is None:
            raise StoreRefused(f"{uri}: there is no store")
        folder_bytes(self._store, uri, manifest)
        path.parent.mkdir(parents=True, exist_ok=True)
        download(self._store, uri, payload, manifest.files, path, lambda: None)
        _log.info("release.fetched", uri=uri, folder=str(path))

    def _path(self, model: str, version: int) -> Path:
        return self.folder / model / str(version)
