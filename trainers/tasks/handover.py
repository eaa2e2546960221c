"""A trained model as a release: consumes what a training left, produces a folder that serving opens.

It is numbered with the stream's other releases, and passes no gate: who promotes it decides.
"""

from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

import msgspec

from schemas.errors import Fatal
from schemas.record import Coordinates
from schemas.release import Release
from trainers import export, folders, release
from trainers.dataset import Dataset
from trainers.manifest import Asked, draft
from trainers.model import Model
from trainers.row import Row
from trainers.tasks.examples import Example, Readings, Text
from trainers.tasks.training import Trained

_AGREES: Final = 0.97


@runtime_checkable
class Releasable(Protocol):
    """A task whose model is one of those that streams have."""

    def model(self) -> Model:
        """Return the model as the trainer's releases hold it."""
        ...


def hand_over(trained: Trained, home: Path, model: str, stream: str) -> Release:
    """Write a release folder of a trained model and return the record that announces it.

    INT8 is served where it agrees with FP32 in 97 of 100 answers, as a stream's gate has it by default.

    Raises:
        Fatal: no stream has models of this kind.
    """
    task = trained.task
    if not isinstance(task, Releasable):
        raise Fatal(
            f"a stream's model answers classes, numbers or anomalies; "
            f"{trained.report.task} has no release folder"
        )
    candidate = task.model()
    if candidate.encoder is not None and trained.report.export.get("int8_agreement", 0.0) >= _AGREES:
        candidate = candidate.at("int8")
    rows = [_row(example, number, candidate.features) for number, example in enumerate(trained.examples)]
    chosen = trained.rows
    test = [rows[number] for number in chosen.test or chosen.training]
    data = Dataset(recent=[rows[number] for number in chosen.training], recent_held_out=test)
    releases = home / "releases"
    version = folders.reserve(home, releases, model)
    with release.building(releases, model) as folder:
        variants = export.write(folder, candidate.network, candidate.encoder)
        asked = Asked(model, stream, trained.report.base)
        manifest = release.complete(folder, candidate, test, draft(asked, candidate, data, variants, version))
        measured = {**trained.report.metrics, **trained.report.export}
        return release.finish(folder, releases, msgspec.structs.replace(manifest, metrics=measured))


def _row(example: Example, number: int, features: tuple[str, ...]) -> Row:
    """Make a row of the file one that a stream could have sent; its place is its number in the file."""
    named = {}
    if isinstance(example, Readings):
        named = {
            name: value for name, value in zip(features, example.values, strict=True) if not isnan(value)
        }
    return Row(
        source="file",
        id=str(number),
        time=datetime.fromtimestamp(0, UTC),
        event=Coordinates("file", 0, number),
        label=example.label if isinstance(example, Text | Readings) else "",
        text=example.text if isinstance(example, Text) else "",
        values=named,
        target=example.target if isinstance(example, Readings) and not isnan(example.target) else None,
    )
