"""Labelled rows to learn from: consumes rows (of `trainers.reader`, or in memory), produces a Dataset.

Recent rows are those since the drift, old rows a replay reservoir from before it. One row in five, chosen by
the hash of its id, is held out and never trained on, in this run or a later one.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.clean import Clean
from schemas.errors import Fatal
from schemas.record import Coordinates
from schemas.release import TrainingRange

Array = NDArray[np.float32]

HELD_OUT: Final = 5
"""One row in this many is held out."""

_MIN_OF_A_CLASS: Final = 3
"""Rows below which a class is taken for a mistake of whoever labelled it."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One event to learn from; `label` is empty where there is none, `event` says where the event lies."""

    source: str
    id: str
    time: datetime
    event: Coordinates
    label: str = ""
    text: str = ""
    values: dict[str, float] = {}

    @property
    def held_out(self) -> bool:
        """Tell whether this row is for evaluation: the same answer in every run."""
        digest = hashlib.blake2b(f"{self.source}\0{self.id}".encode(), digest_size=8).digest()
        return int.from_bytes(digest) % HELD_OUT == 0


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """Rows by what they are for; no row is in two of them."""

    recent: list[Row]
    recent_held_out: list[Row]
    old: list[Row] = []
    old_held_out: list[Row] = []

    @property
    def training(self) -> list[Row]:
        """Return the rows to train on, recent ones first."""
        return [*self.recent, *self.old]

    def labels(self, known: Sequence[str] = ()) -> tuple[str, ...]:
        """Return the label order: `known` first, then the new ones by name."""
        found = {row.label for row in self.training if row.label}
        return (*known, *sorted(found - set(known)))

    def range(self) -> TrainingRange:
        """Return where the training rows lie, and a digest of them."""
        rows = self.training
        offsets: dict[str, tuple[int, int]] = {}
        for row in rows:
            place = f"{row.event.topic}:{row.event.partition}"
            low, high = offsets.get(place, (row.event.offset, row.event.offset))
            offsets[place] = (min(low, row.event.offset), max(high, row.event.offset))
        digest = hashlib.sha256()
        for row in sorted(rows, key=lambda row: (row.source, row.id)):
            digest.update(
                msgspec.json.encode([row.source, row.id, row.label, row.text, row.values], order="sorted")
            )
        return TrainingRange(
            rows=len(rows),
            event_from=min(row.time for row in rows),
            event_to=max(row.time for row in rows),
            offsets=offsets,
            replayed_rows=len(self.old),
            dataset_sha256=digest.hexdigest(),
        )


def split(recent: Iterable[Row], old: Iterable[Row] = ()) -> Dataset:
    """Split rows 8:2 by the hash of their id; labels of fewer than three rows are left out.

    Raises:
        Fatal: nothing is left to train on or to evaluate with.
    """
    recent, old = list(recent), list(old)
    counts = Counter(row.label for row in [*recent, *old])
    rare = {label for label, count in counts.items() if label and count < _MIN_OF_A_CLASS}
    recent = [row for row in recent if row.label not in rare]
    old = [row for row in old if row.label not in rare]
    dataset = Dataset(
        recent=[row for row in recent if not row.held_out],
        recent_held_out=[row for row in recent if row.held_out],
        old=[row for row in old if not row.held_out],
        old_held_out=[row for row in old if row.held_out],
    )
    if not dataset.recent or not dataset.recent_held_out:
        raise Fatal(f"{len(recent)} recent rows are too few to train on and to evaluate with")
    return dataset


def from_memory(
    rows: Sequence[tuple[Clean, str | None]], old: Sequence[tuple[Clean, str | None]] = ()
) -> Dataset:
    """Make a dataset of events at hand and their labels; their coordinates are those on `events.raw`."""
    return split([_row(clean, label) for clean, label in rows], [_row(clean, label) for clean, label in old])


def matrix(rows: Sequence[Row], features: Sequence[str]) -> Array:
    """Return (N, F) readings in feature order; a missing one is NaN."""
    values = [[row.values.get(name, np.nan) for name in features] for row in rows]
    return np.array(values, dtype=np.float32).reshape(len(rows), len(features))


def feature_names(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the sorted names of the readings that the rows have."""
    return tuple(sorted({name for row in rows for name in row.values}))


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
