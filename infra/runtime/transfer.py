"""Release folders on their way: consumes a folder and a store, produces the same folder at the other end.

Up: every file first, the manifest last, so that what was broken off is no release. Down: the manifest first,
whose sha256 was announced; then what lies there is held against it, and only then anything else is fetched.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from infra.runtime.object_store import MANIFEST, ObjectStore, StoreRefused
from schemas import codec
from schemas.errors import Fatal, Rejected
from schemas.release import Manifest

MAX_MANIFEST_BYTES: Final = 1024 * 1024
MAX_FILE_BYTES: Final = 2 * 1024**3 - 1  # a protobuf, which an ONNX file is, cannot be larger
MAX_FOLDER_BYTES: Final = 8 * 1024**3
MAX_FILES: Final = 256

Pause = Callable[[], None]
"""Called after each mebibyte, by whoever works beside a model that answers."""


def upload(store: ObjectStore, folder: Path, model: str, version: int) -> None:
    """Write a finished release folder to the store; what is there whole already is left as it is.

    Raises:
        Fatal: another release of that number is there.
        StoreAway: the store failed; nothing there looks like a release, and the next try goes on.
    """
    payload = (folder / MANIFEST).read_bytes()
    place = store.place(store.uri(model, version))
    if MANIFEST not in store.sizes(place):
        for name in codec.decode(payload, Manifest).files:
            store.put(place, name, folder / name)
        if store.create(place, MANIFEST, payload):
            return
    if store.read(place, MANIFEST, MAX_MANIFEST_BYTES) != payload:
        raise Fatal(
            f"{store.uri(model, version)} is another release of that number, from another trainer;"
            " give this installation a prefix of its own in releases.url"
        )


def stored_manifest(store: ObjectStore, uri: str, sha256: str = "") -> tuple[bytes, Manifest]:
    """Fetch a manifest by number alone, or the one that has a `sha256`: its bytes, and what they say.

    Raises:
        StoreRefused: it is not there, is another one, or cannot be read.
    """
    payload = store.read(store.place(uri), MANIFEST, MAX_MANIFEST_BYTES)
    if sha256 and hashlib.sha256(payload).hexdigest() != sha256:
        raise StoreRefused(f"{MANIFEST}: its sha256 is not the announced {sha256}")
    try:
        return payload, codec.decode(payload, Manifest)
    except Rejected as error:
        raise StoreRefused(f"{MANIFEST}: {error.field or 'document'}: {error.message}") from error


def folder_bytes(store: ObjectStore, uri: str, manifest: Manifest) -> int:
    """Hold what lies in the store against a manifest before any of it is fetched; return its bytes.

    Raises:
        StoreRefused: a file is missing, too large or not listed, a name leads out of the folder.
    """
    sizes = store.sizes(store.place(uri))
    listed = {MANIFEST, *manifest.files}
    if len(manifest.files) > MAX_FILES:
        raise StoreRefused(f"{MANIFEST}: files: more than {MAX_FILES}")
    for name in manifest.files:
        path = PurePosixPath(name)
        if path.is_absolute() or str(path) != name or ".." in path.parts or "\\" in name or "\0" in name:
            raise StoreRefused(f"{name!r}: the path leads out of the release folder")
    if missing := sorted(listed - sizes.keys()):
        raise StoreRefused(f"{missing[0]}: it is not in {uri}")
    if foreign := sorted(sizes.keys() - listed):
        raise StoreRefused(f"{foreign[0]}: it is in {uri}, and the manifest does not list it")
    for name, size in sizes.items():
        if size > MAX_FILE_BYTES:
            raise StoreRefused(f"{name}: {size} bytes, more than {MAX_FILE_BYTES}")
    if (total := sum(sizes.values())) > MAX_FOLDER_BYTES:
        raise StoreRefused(f"{uri}: {total} bytes, more than {MAX_FOLDER_BYTES}")
    return total


def download(
    store: ObjectStore, uri: str, payload: bytes, files: Mapping[str, str], target: Path, pause: Pause
) -> None:
    """Fetch a release's files to where its folder is to be: verified and on disk before it has its name.

    Raises:
        StoreRefused: a digest is not the manifest's.
        StoreAway: the store failed.
    """
    place = store.place(uri)
    scratch = target.with_name(f".fetching-{target.name}-{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        for name, expected in files.items():
            file = scratch / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if _fetched(store, place, name, file, pause) != expected:
                raise StoreRefused(f"{name}: its sha256 is not the manifest's")
        (scratch / MANIFEST).write_bytes(payload)
        with (scratch / MANIFEST).open("rb") as file_on_disk:
            os.fsync(file_on_disk.fileno())
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def whole(folder: Path, sha256: str, pause: Pause) -> bool:
    """Tell whether a folder is, byte by byte, the release with that sha256."""
    try:
        payload = (folder / MANIFEST).read_bytes()
        if hashlib.sha256(payload).hexdigest() != sha256:
            return False
        for name, expected in codec.decode(payload, Manifest).files.items():
            digest = hashlib.sha256()
            with (folder / name).open("rb") as file:
                while chunk := file.read(1024 * 1024):
                    digest.update(chunk)
                    pause()
            if digest.hexdigest() != expected:
                return False
    except (OSError, Rejected):
        return False
    return True


def _fetched(store: ObjectStore, place: str, name: str, file: Path, pause: Pause) -> str:
    """Write an object to a file; return its sha256."""
    digest = hashlib.sha256()
    with file.open("xb") as out:
        for chunk in store.chunks(place, name, MAX_FILE_BYTES):
            digest.update(chunk)
            out.write(chunk)
            pause()
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()
