"""An S3-compatible store of release folders: consumes names and bytes, produces objects and their sizes.

    s3://bucket/prefix/MODEL/VERSION/manifest.json, …

What goes wrong around a request is `StoreAway`: it was tried a few times and may work later. What is wrong
with an address or an object is `StoreRefused`. Neither names a credential.
"""

import configparser
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from schemas.errors import Fatal, HeadraceError, Retryable
from schemas.store import ReleaseStore

MANIFEST: Final = "manifest.json"

_RETRIES: Final = 3
_CONNECT_S: Final = 5.0
_CHUNK_BYTES: Final = 1024 * 1024
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_MAX_OBJECTS: Final = 1000
"""Of one release folder: far more than it may have files, so that a full bucket is not listed to its end."""


class StoreAway(Retryable):
    """The store does not answer, or not in time, or does not let us in."""


class StoreRefused(HeadraceError):
    """What lies in the store must not be used; the message says where and why."""


class ObjectStore:
    """The release folders of one bucket and prefix. All calls block."""

    def __init__(self, config: ReleaseStore, environ: Mapping[str, str] = os.environ) -> None:
        self.root = "/".join(part for part in (f"s3://{config.bucket}", config.prefix) if part)
        self._where = f"{self.root} at {config.endpoint or 'AWS'}"
        options: dict[str, Any] = {
            "region": config.region,
            "client_options": {
                "timeout": timedelta(seconds=config.timeout),
                "connect_timeout": timedelta(seconds=min(_CONNECT_S, config.timeout)),
                "allow_http": config.endpoint.startswith("http://"),
            },
            "retry_config": {"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=config.timeout)},
            **credentials(config, environ),
        }
        if config.endpoint:
            options |= {"endpoint": config.endpoint, "virtual_hosted_style_request": False}
        self._store = S3Store(config.bucket, prefix=config.prefix or None, **options)

    def uri(self, model: str, version: int) -> str:
        """Return the address of a release folder."""
        return f"{self.root}/{model}/{version}"

    def place(self, uri: str) -> str:
        """Return what the names of a folder's objects begin with, `MODEL/VERSION`.

        Raises:
            StoreRefused: the address is none of a release in this store.
        """
        place = uri.removeprefix(f"{self.root}/")
        parts = place.split("/")
        if place == uri or len(parts) != 2 or not parts[1].isdigit() or parts[0] in {"", ".", ".."}:
            raise StoreRefused(f"uri: {uri!r} is no release in {self.root}")
        return place

    def sizes(self, place: str) -> dict[str, int]:
        """Return name and size in bytes of every object of a folder.

        Raises:
            StoreRefused: there are more than any release has.
        """
        found: dict[str, int] = {}
        with self._asking(f"{place}/"):
            for page in obstore.list(self._store, f"{place}/"):
                found.update((meta["path"].removeprefix(f"{place}/"), meta["size"]) for meta in page)
                if len(found) > _MAX_OBJECTS:
                    raise StoreRefused(f"{place}: more than {_MAX_OBJECTS} objects")
        return found

    def chunks(self, place: str, name: str, limit: int) -> Iterator[bytes]:
        """Yield an object's bytes, about a mebibyte at a time.

        Raises:
            StoreRefused: it is not there, or larger than `limit`.
        """
        with self._asking(f"{place}/{name}"):
            try:
                got = obstore.get(self._store, f"{place}/{name}")
            except FileNotFoundError as error:
                raise StoreRefused(f"{name}: it is not in {self.root}/{place}") from error
            if got.meta["size"] > limit:
                raise StoreRefused(f"{name}: {got.meta['size']} bytes, more than {limit}")
            for chunk in got.stream(min_chunk_size=_CHUNK_BYTES):
                limit -= len(chunk)
                if limit < 0:
                    raise StoreRefused(f"{name}: it grew while it was read")
                yield bytes(chunk)

    def read(self, place: str, name: str, limit: int) -> bytes:
        """Return a small object whole; as `chunks`."""
        return b"".join(self.chunks(place, name, limit))

    def put(self, place: str, name: str, file: Path) -> None:
        """Write an object from a file, in parts where it is large."""
        with self._asking(f"{place}/{name}"):
            obstore.put(self._store, f"{place}/{name}", file)

    def create(self, place: str, name: str, payload: bytes) -> bool:
        """Write an object unless there is one of that name; tell whether it was written."""
        with self._asking(f"{place}/{name}"):
            try:
                obstore.put(self._store, f"{place}/{name}", payload, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
        return True

    def delete(self, place: str, name: str) -> None:
        """Delete an object; one that is not there is as good as deleted."""
        with self._asking(f"{place}/{name}"), suppress(FileNotFoundError):
            obstore.delete(self._store, f"{place}/{name}")

    def versions(self, model: str = "") -> dict[str, list[int]]:
        """Return the versions of one model, or of each, that are whole: they have their manifest."""
        found: dict[str, list[int]] = {}
        with self._asking(model):
            for page in obstore.list(self._store, f"{model}/" if model else None):
                for meta in page:
                    parts = PurePosixPath(meta["path"]).parts
                    if len(parts) == 3 and parts[2] == MANIFEST and parts[1].isdigit():
                        found.setdefault(parts[0], []).append(int(parts[1]))
        return {model: sorted(versions) for model, versions in sorted(found.items())}

    @contextmanager
    def _asking(self, name: str) -> Iterator[None]:
        """Turn the library's errors into ours."""
        try:
            yield
        except (BaseError, OSError) as error:
            raise StoreAway(f"{self._where}: {name or 'its list'}: {_told(error)}") from error


def credentials(config: ReleaseStore, environ: Mapping[str, str]) -> dict[str, str]:
    """Return who we are to the store, by the file or the environment; nothing means the machine's own role.

    Raises:
        Fatal: the file cannot be read, others can read it, or it lacks the keys; or a store that is not AWS'
            own, which knows no roles, has no credentials.
    """
    if config.credentials_file:
        return _of_file(Path(config.credentials_file), config.profile)
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    given = {name.removeprefix("AWS_").lower(): environ[name] for name in names if environ.get(name)}
    if config.endpoint and not {"access_key_id", "secret_access_key"} <= given.keys():
        raise Fatal(
            f"no credentials for {config.endpoint}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
            " or releases.credentials_file"
        )
    return given


def _told(error: Exception) -> str:
    """Return what an error says in a line; of the store's own answer, which may quote a request, its code."""
    said, answer, code = str(error).strip().partition("<?xml")
    found = _CODE.search(code) if answer else None
    line = said.splitlines()[0].rstrip(" :") if said else type(error).__name__
    return line[:300] + (f": {found[1]}" if found else "")


def _of_file(path: Path, profile: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        if path.stat().st_mode & 0o007:
            raise Fatal(f"releases.credentials_file: everybody can read {path}; run: chmod o= {path}")
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(f"releases.credentials_file cannot be read: {error}") from error
    except configparser.Error:  # its message quotes the line, which may be a secret
        raise Fatal(f"releases.credentials_file: {path} is no file of profiles") from None
    section: Mapping[str, str] = parser[profile] if parser.has_section(profile) else {}
    keys = ("access_key_id", "secret_access_key", "session_token")
    given = {key: section[f"aws_{key}"] for key in keys if section.get(f"aws_{key}")}
    if not {"access_key_id", "secret_access_key"} <= given.keys():
        raise Fatal(f"releases.credentials_file: {path} has no keys under [{profile}]")
    return given
