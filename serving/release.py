"""Opens the release folder that a record on `models.releases` announced: bytes in, verified contents out.

Every digest is right before anything is parsed, and what is used later are the very bytes that were hashed.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from infra.runtime.object_store import MANIFEST, StoreRefused
from infra.runtime.release_cache import ReleaseCache
from infra.runtime.transfer import MAX_FILE_BYTES, MAX_FILES, MAX_FOLDER_BYTES, MAX_MANIFEST_BYTES
from schemas import codec
from schemas.errors import HeadraceError, Rejected
from schemas.release import Manifest, Release, Task
from serving.loading import Pause, at_once

TOKENIZER: Final = "tokenizer.json"
GOLDEN: Final = "golden.json"
FAMILIES: Final = ("text", "sensor")

_SCHEMA_VERSION: Final = 1
_CHUNK_BYTES: Final = 1024 * 1024


class BadRelease(HeadraceError):
    """A candidate that must not serve; the message names the file or field and the rule it breaks."""


@dataclass(frozen=True)
class OpenRelease:
    """A verified release: its announcement, its manifest, and the bytes of the files that serving reads."""

    release: Release
    manifest: Manifest
    contents: Mapping[str, bytes]

    @property
    def graph(self) -> bytes:
        """Return the ONNX model of the variant to serve."""
        return self.contents[self.manifest.variants[self.manifest.serve]]

    @property
    def golden(self) -> bytes:
        """Return the known inputs and outputs, as JSON."""
        return self.contents[self.manifest.golden or GOLDEN]


def at_hand(release: Release, cache: ReleaseCache | None, pause: Pause = at_once) -> Release:
    """Return a release with the address of its folder here; one of a release store is fetched.

    Raises:
        BadRelease: it is not in the store that is configured, or what lies there must not be used.
        StoreAway: it is not here and the store does not answer.
    """
    if cache is None or not release.uri.startswith("s3:"):
        return release
    try:
        folder = cache.fetched(release.uri, release.sha256, pause)
    except StoreRefused as error:
        raise BadRelease(str(error)) from error
    return msgspec.structs.replace(release, uri=folder.as_uri())


def open_release(release: Release, store: Path | None = None, pause: Pause = at_once) -> OpenRelease:
    """Verify a release folder whole and return what serving needs of it; with a `pause` after each mebibyte.

    Raises:
        BadRelease: the folder is missing, elsewhere than on a file system or outside `store`, a digest
            differs, a path leads out of the folder, a file is too large, or the manifest contradicts itself
            or the announcement.
    """
    folder = _folder(release.uri)
    if store is not None and not folder.resolve().is_relative_to(store.resolve()):
        raise BadRelease(f"uri: {folder} is not among the releases, which are in {store}")
    payload = _read(folder, MANIFEST, MAX_MANIFEST_BYTES)
    if hashlib.sha256(payload).hexdigest() != release.sha256:
        raise BadRelease(f"{MANIFEST}: its sha256 is not the announced {release.sha256}")
    try:
        manifest = codec.decode(payload, Manifest)
    except Rejected as error:
        raise BadRelease(f"{MANIFEST}: {error.field or 'document'}: {error.message}") from error
    _check_manifest(manifest, release)
    return OpenRelease(release, manifest, _verified(folder, manifest, pause))


def model_bytes(release: Release) -> int:
    """Return the size of the largest ONNX file in a release folder, read from the file system alone."""
    files = _folder(release.uri).glob("*.onnx")
    return max((file.stat().st_size for file in files if file.is_file()), default=0)


def _folder(uri: str) -> Path:
    """Return the folder of a `file://` URI of this host."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        raise BadRelease(f"uri: {uri!r} is no file:// URI of this host")
    folder = Path(unquote(parts.path))
    if not folder.is_absolute() or ".." in folder.parts:
        raise BadRelease(f"uri: {uri!r} is no absolute path")
    if not folder.is_dir():
        raise BadRelease(f"uri: there is no folder {folder}")
    return folder


def _check_manifest(manifest: Manifest, release: Release) -> None:
    """Hold the manifest against the announcement and against what its family needs."""
    named = (manifest.model, manifest.version, manifest.stream)
    announced = (release.model, release.version, release.stream)
    needed = {manifest.variants.get(manifest.serve, ""), manifest.golden or GOLDEN}
    rules = {
        f"schema_version: {manifest.schema_version} is unknown": manifest.schema_version == _SCHEMA_VERSION,
        f"model, version, stream: {named} were announced as {announced}": named == announced,
        f"family: {manifest.family!r} is none of {', '.join(FAMILIES)}": manifest.family in FAMILIES,
        f"serve: {manifest.serve!r} is no variant": manifest.serve in manifest.variants,
        f"files: more than {MAX_FILES}": len(manifest.files) <= MAX_FILES,
        "labels: a classifier needs two or more, each once": manifest.task is not Task.CLASSIFICATION
        or len(set(manifest.labels)) == len(manifest.labels) >= 2,
    }
    if manifest.family == "text":
        needed.add(TOKENIZER)
        rules["max_tokens: must lie in 2…8192"] = 2 <= manifest.max_tokens <= 8192
        rules[f"task: a text model cannot do {manifest.task}"] = manifest.task is not Task.ANOMALY
    else:
        count = len(manifest.features)
        rules["features: a sensor model needs names, each once"] = count == len(set(manifest.features)) > 0
    rules.update({f"files: {name!r} is missing": name in manifest.files for name in needed})
    for problem, holds in rules.items():
        if not holds:
            raise BadRelease(f"{MANIFEST}: {problem}")


def _verified(folder: Path, manifest: Manifest, pause: Pause) -> dict[str, bytes]:
    """Hash every file once, and keep the bytes of those that serving reads."""
    served = {manifest.variants[manifest.serve], manifest.golden or GOLDEN, TOKENIZER}
    contents = {}
    left = MAX_FOLDER_BYTES
    for name, expected in manifest.files.items():
        digest = hashlib.sha256()
        kept = []
        for chunk in _chunks(folder, name, min(left, MAX_FILE_BYTES)):
            digest.update(chunk)
            left -= len(chunk)
            if name in served:
                kept.append(chunk)
            pause()
        if digest.hexdigest() != expected:
            raise BadRelease(f"{name}: its sha256 is not the manifest's")
        if name in served:
            contents[name] = b"".join(kept)
    return contents


def _read(folder: Path, name: str, limit: int) -> bytes:
    return b"".join(_chunks(folder, name, limit))


def _chunks(folder: Path, name: str, limit: int) -> Iterable[bytes]:
    """Yield a file's bytes; links and paths out of the folder are refused, sizes bounded."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in name or "\0" in name:
        raise BadRelease(f"{name!r}: the path leads out of the release folder")
    target = folder.joinpath(path)
    if not target.resolve().is_relative_to(folder.resolve()):
        raise BadRelease(f"{name!r}: the path leads out of the release folder")
    try:
        descriptor = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise BadRelease(f"{name}: cannot be read: {error.strerror}") from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
        os.close(descriptor)
        raise BadRelease(f"{name}: no regular file, or larger than {limit} bytes")
    with os.fdopen(descriptor, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            limit -= len(chunk)
            if limit < 0:
                raise BadRelease(f"{name}: it grew while it was read")
            yield chunk
