"""Labelled rows to learn from: consumes rows (of `trainers.reader`, or in memory), produces a Dataset.

Recent rows are those since the drift, old rows a replay reservoir from before it. Of both, most are for
training, some for validation and some for the test (`trainers.sides`); the test knows nothing of training
(`trainers.leaks`).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.clean import Clean
from schemas.errors import Fatal
from schemas.label import number_of
from schemas.release import Task, TrainingRange
from trainers.description import Description, offsets
from trainers.leaks import Known, Leaks
from trainers.row import Row
from trainers.sides import Side, Sides

Array = NDArray[np.float32]
Numbers = NDArray[np.float64]

_MIN_OF_A_CLASS: Final = 3
"""Rows below which a class is taken for a mistake of whoever labelled it."""


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """Rows by what they are for; no row is in two of them. Held out are those of the test, newest first.

    `variants` are made of training rows where a training begins, by seed; they are no part of its version.
    `dataset.json` of a run folder is this record.
    """

    recent: list[Row]
    recent_validation: list[Row] = []
    recent_held_out: list[Row]
    old: list[Row] = []
    old_validation: list[Row] = []
    old_held_out: list[Row] = []
    variants: list[Row] = []
    leaks: Leaks = Leaks()
    rare: int = 0
    description: Description | None = None

    @property
    def training(self) -> list[Row]:
        """Return the rows to train on, recent ones first."""
        return [*self.recent, *self.old]

    @property
    def validation(self) -> list[Row]:
        """Return the rows that say when training is to stop, recent ones first."""
        return [*self.recent_validation, *self.old_validation]

    @property
    def test(self) -> list[Row]:
        """Return the rows that the gate judges by, recent ones first."""
        return [*self.recent_held_out, *self.old_held_out]

    def parts(self) -> dict[Side, list[Row]]:
        """Return all rows by side."""
        return {Side.TRAINING: self.training, Side.VALIDATION: self.validation, Side.TEST: self.test}

    def labels(self, known: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the label order: `known` first, then the new ones by name."""
        found = {row.label for row in self.training if row.label}
        return (*known, *sorted(found - set(known)))

    def sha256(self) -> str:
        """Return the dataset's version: the digest of its rows with their sides, whatever order they came in.

        Where the events lie is left out: the same rows, stored elsewhere, are the same dataset.
        """
        if self.description is not None:
            return self.description.sha256
        digest = hashlib.sha256()
        sided = [(side.value, row) for side, rows in self.parts().items() for row in rows]
        for side, row in sorted(sided, key=lambda pair: (pair[0], pair[1].source, pair[1].id)):
            content = [side, row.source, row.id, row.time, row.label, row.text, row.values, row.target]
            digest.update(msgspec.json.encode(content, order="sorted") + b"\n")
        return digest.hexdigest()

    def range(self) -> TrainingRange:
        """Return where the training rows lie, and the dataset's version."""
        rows = self.training
        return TrainingRange(
            rows=len(rows),
            event_from=min(row.time for row in rows),
            event_to=max(row.time for row in rows),
            offsets=offsets(rows),
            replayed_rows=len(self.old),
            dataset_sha256=self.sha256(),
        )


def split(recent: Iterable[Row], old: Iterable[Row] = (), sides: Sides | None = None) -> Dataset:
    """Split rows into training, validation and test, and take leaks out of the test.

    Without `sides` the newest tenth is held out by time, of the old rows and then of the recent ones. An
    event that comes twice counts once, as the recent one or the one that lies first; labels of fewer than
    three rows are left out.

    Raises:
        Fatal: nothing is left to train on or to evaluate with.
    """
    recent, old = list(recent), list(old)
    given = len(recent) + len(old)
    recent, old = _once(recent, old)
    identity = given - len(recent) - len(old)
    if sides is None:
        sides = Sides().extended(row.time for row in old).extended(row.time for row in recent)
    counts = Counter(row.label for row in [*recent, *old])
    rare = {label for label, count in counts.items() if label and count < _MIN_OF_A_CLASS}
    by_side: dict[tuple[str, Side], list[Row]] = {}
    for part, rows in (("recent", recent), ("old", old)):
        for row in rows:
            if row.label not in rare:
                by_side.setdefault((part, sides.of(row.source, row.id, row.time)), []).append(row)
    training = [row for (_, side), rows in by_side.items() for row in rows if side is Side.TRAINING]
    known = Known(training)
    tests = [known.without_leaks(by_side.get((part, Side.TEST), [])) for part in ("recent", "old")]
    dataset = Dataset(
        recent=by_side.get(("recent", Side.TRAINING), []),
        recent_validation=by_side.get(("recent", Side.VALIDATION), []),
        recent_held_out=tests[0][0],
        old=by_side.get(("old", Side.TRAINING), []),
        old_validation=by_side.get(("old", Side.VALIDATION), []),
        old_held_out=tests[1][0],
        leaks=Leaks(identity=identity) + tests[0][1] + tests[1][1],
        rare=sum(counts[label] for label in rare),
    )
    if not dataset.recent or not dataset.recent_held_out:
        raise Fatal(f"{len(recent)} recent rows are too few to train on and to evaluate with")
    return dataset


def from_memory(
    rows: Sequence[tuple[Clean, str | None]], old: Sequence[tuple[Clean, str | None]] = ()
) -> Dataset:
    """Make a dataset of events at hand and their labels; their coordinates are those on `events.raw`."""
    return split(rows_of(rows), rows_of(old))


def rows_of(events: Iterable[tuple[Clean, str | None]], task: Task = Task.CLASSIFICATION) -> list[Row]:
    """Return events and their labels as rows; of a regression those whose label is no number are left out."""
    rows = [_row(clean, label) for clean, label in events]
    return [numbered for row in rows if (numbered := with_target(row))] if task is Task.REGRESSION else rows


def with_target(row: Row) -> Row | None:
    """Return a row whose label is the number to learn; None where it is no finite number."""
    number = number_of(row.label)
    return None if number is None else msgspec.structs.replace(row, label="", target=number)


def matrix(rows: Sequence[Row], features: Sequence[str]) -> Array:
    """Return (N, F) readings in feature order; a missing one is NaN."""
    values = [[row.values.get(name, np.nan) for name in features] for row in rows]
    return np.array(values, dtype=np.float32).reshape(len(rows), len(features))


def targets(rows: Sequence[Row]) -> Numbers:
    """Return the numbers (N,) to learn; of a row without one NaN."""
    return np.array([np.nan if row.target is None else row.target for row in rows], dtype=np.float64)


def feature_names(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the sorted names of the readings that the rows have."""
    return tuple(sorted({name for row in rows for name in row.values}))


def _once(recent: list[Row], old: list[Row]) -> tuple[list[Row], list[Row]]:
    """Return both parts with each event once, newest first, so that the order of arrival decides nothing."""
    seen: set[tuple[str, str]] = set()
    parts: list[list[Row]] = []
    for rows in (recent, old):
        kept = []
        for row in sorted(rows, key=lambda row: (row.source, row.id, row.event)):
            if (row.source, row.id) not in seen:
                seen.add((row.source, row.id))
                kept.append(row)
        parts.append(sorted(kept, key=lambda row: (row.time, row.source, row.id), reverse=True))
    return parts[0], parts[1]


def _row(clean: Clean, label: str | None) -> Row:
    return Row(
        source=clean.source,
        id=clean.id,
        time=clean.time,
        event=clean.raw,
        label=label or "",
        text=clean.text,
        values=clean.values,
    )
