"""Release folders as they lie on disk: consumes model and version, produces numbers, manifests and records.

A number is reserved before a training ends, so that a rejected candidate, a crashed run and a second trainer
never share one. Nothing here imports torch: `headrace models` uses it too.
"""

import gzip
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from schemas import codec
from schemas.errors import Fatal
from schemas.release import Manifest, Release, State

CARD: Final = "model_card.json"
CARD_TEXT: Final = "model_card.md"
HISTORY: Final = "training/history.json"
JOB: Final = "training/job.json"
ROWS: Final = "training/dataset.json.gz"
GOLDEN_ROWS: Final = "training/golden_rows.json"


def reserve(home: Path, releases: Path, model: str) -> int:
    """Take the next version number of a model, for good."""
    numbers = home / "trainer" / "versions" / model
    numbers.mkdir(parents=True, exist_ok=True)
    while True:
        taken = [int(entry.name) for entry in _folders(numbers)] + [
            int(e.name) for e in _folders(releases / model)
        ]
        version = max(taken, default=0) + 1
        try:
            (numbers / str(version)).mkdir()
        except FileExistsError:
            continue  # another trainer took it in this moment
        return version


def take(home: Path, model: str, numbers: Iterable[int]) -> None:
    """Take version numbers that are in use elsewhere, so that no release here gets one of them."""
    for number in numbers:
        (home / "trainer" / "versions" / model / str(number)).mkdir(parents=True, exist_ok=True)


def versions(releases: Path, model: str) -> list[int]:
    """Return the version numbers of a model that have a complete folder, ascending."""
    return sorted(
        int(entry.name) for entry in _folders(releases / model) if (entry / "manifest.json").is_file()
    )


def read_manifest(releases: Path, model: str, version: int) -> tuple[Manifest, str]:
    """Return a release's manifest and its sha256."""
    payload = (releases / model / str(version) / "manifest.json").read_bytes()
    return codec.decode(payload, Manifest), hashlib.sha256(payload).hexdigest()


def record(releases: Path, model: str, version: int, reasons: Sequence[str] = ()) -> Release:
    """Return what announces a release folder as the one to serve."""
    manifest, digest = read_manifest(releases, model, version)
    return Release(
        model=model,
        stream=manifest.stream,
        version=version,
        uri=(releases / model / str(version)).absolute().as_uri(),
        sha256=digest,
        state=State.RELEASED,
        parent=manifest.parent,
        alert=manifest.alert,
        metrics=manifest.metrics,
        training=manifest.training,
        reasons=tuple(reasons),
        created_at=manifest.created_at,
    )


def verify(releases: Path, model: str, version: int) -> None:
    """Check every file of a release folder against its manifest.

    Raises:
        Fatal: a file is missing or is not the one that was released.
    """
    folder = releases / model / str(version)
    manifest, _ = read_manifest(releases, model, version)
    for name, expected in manifest.files.items():
        try:
            with (folder / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise Fatal(
                f"{model} {version} cannot be served: {name} cannot be read ({error.strerror})"
            ) from error
        if digest != expected:
            raise Fatal(f"{model} {version} cannot be served: {name} is not the file that was released")


def unpacked(path: Path) -> bytes:
    """Return the contents of a `.gz` file of a release, which its digest has vouched for."""
    return gzip.decompress(path.read_bytes())


def _folders(parent: Path) -> list[Path]:
    return [entry for entry in parent.iterdir() if entry.name.isdigit()] if parent.is_dir() else []
