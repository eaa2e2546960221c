"""What is known of a dataset: consumes rows and where they came from, produces the head of `dataset.json`.

Read without importing torch; `headrace data` shows it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np

from schemas.cleaning import Cleaning
from trainers.leaks import Leaks
from trainers.row import Row

_QUANTILES: Final = {"min": 0.0, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "max": 1.0}

Offsets = dict[str, tuple[int, int]]
"""The first and last offset of each `topic:partition`."""


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """One selection of rows, and how to make it again: event times and offsets are those of the rows found.

    `query` with `parameters` gives the same rows as long as the warehouse keeps them: it is bounded by event
    time and by when rows were stored. Rows that were remembered from older datasets have no query.
    """

    name: str
    rows: int
    event_from: datetime | None = None
    event_to: datetime | None = None
    offsets: Offsets = {}
    query: str = ""
    parameters: dict[str, Any] = {}


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a dataset comes from: the alert that asked for it, the champion it is to be learnt on top of.

    `parents` are the datasets (sha256) that it has rows of, with how many; the champion's with 0, if none.
    """

    alert: str | None = None
    champion: int | None = None
    parents: dict[str, int] = {}


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """Of all rows: `classes` by side and label, `lengths` of texts, `features` and `targets` by quantile.

    `missing` counts the rows without a reading, of the rows that have any.
    """

    rows: dict[str, int]
    classes: dict[str, dict[str, int]] = {}
    lengths: dict[str, float] = {}
    missing: dict[str, int] = {}
    features: dict[str, dict[str, float]] = {}
    targets: dict[str, float] = {}


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the data dictionary; `low` and `high` are what the configuration allows, if anything."""

    name: str
    type: str
    meaning: str
    unit: str = ""
    low: float | None = None
    high: float | None = None


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one dataset; `sha256` is its version.

    `rare` counts the rows whose label was left out. `pruned` datasets keep this, but their rows no more.
    """

    sha256: str
    stream: str
    created_at: datetime | None
    windows: tuple[Window, ...]
    lineage: Lineage
    leaks: Leaks
    rare: int
    statistics: Statistics
    dictionary: tuple[Field, ...]
    pruned: bool = False


def window(
    name: str, rows: Sequence[Row], query: str = "", parameters: Mapping[str, Any] | None = None
) -> Window:
    """Return the window that rows make."""
    return Window(
        name=name,
        rows=len(rows),
        event_from=min((row.time for row in rows), default=None),
        event_to=max((row.time for row in rows), default=None),
        offsets=offsets(rows),
        query=" ".join(query.split()),
        parameters=dict(parameters or {}),
    )


def offsets(rows: Sequence[Row]) -> Offsets:
    """Return the first and last offset of each partition that rows lie in."""
    found: Offsets = {}
    for row in rows:
        place = f"{row.event.topic}:{row.event.partition}"
        low, high = found.get(place, (row.event.offset, row.event.offset))
        found[place] = (min(low, row.event.offset), max(high, row.event.offset))
    return found


def statistics(sides: Mapping[str, Sequence[Row]]) -> Statistics:
    """Return the statistics of rows by side."""
    rows = [row for part in sides.values() for row in part]
    texts = np.array([len(row.text) for row in rows if row.text], dtype=np.float64)
    measured = [row for row in rows if row.values]
    names = sorted({name for row in measured for name in row.values})
    columns = {
        name: np.array([row.values[name] for row in measured if name in row.values], dtype=np.float64)
        for name in names
    }
    return Statistics(
        rows={side: len(part) for side, part in sides.items()},
        classes={
            side: dict(sorted(Counter(row.label for row in part if row.label).items()))
            for side, part in sides.items()
        },
        lengths=_quantiles(texts),
        missing={name: len(measured) - len(column) for name, column in columns.items()},
        features={name: _quantiles(column) for name, column in columns.items()},
        targets=_quantiles(np.array([row.target for row in rows if row.target is not None])),
    )


def dictionary(rows: Sequence[Row], cleaning: Cleaning | None = None) -> tuple[Field, ...]:
    """Return what each field of the rows is; units and ranges of readings are the configuration's."""
    cleaning = cleaning or Cleaning()
    masks = ", ".join(cleaning.mask) or "nothing"
    fields = [
        Field(name="side", type="string", meaning="training, validation or test; the same in every run"),
        Field(name="part", type="string", meaning="recent: since the drift; old: remembered from before it"),
        Field(name="source", type="string", meaning="who sent the event"),
        Field(name="id", type="string", meaning="the event's id; unique together with its source"),
        Field(name="time", type="timestamp", unit="UTC", meaning="when it happened (event time)"),
        Field(name="topic", type="string", meaning="where the clean event lies, with the next two"),
        Field(name="partition", type="integer", meaning="the topic's partition"),
        Field(name="offset", type="integer", meaning="its place in the partition"),
    ]
    if any(row.label for row in rows):
        fields.append(Field(name="label", type="category", meaning="the newest label that anybody gave it"))
    if any(row.target is not None for row in rows):
        fields.append(Field(name="target", type="number", meaning="the number that its newest label says"))
    if any(row.text for row in rows):
        fields.append(
            Field(name="text", type="string", meaning=f"the cleaned text; masked: {masks}, numbers")
        )
    for name in sorted({name for row in rows for name in row.values}):
        low, high = cleaning.ranges.get(name, (None, None))
        unit = cleaning.units.get(name, "")
        meaning = "a reading, in the stream's unit" if unit else "a reading"
        fields.append(
            Field(name=f"values.{name}", type="number", unit=unit, low=low, high=high, meaning=meaning)
        )
    return tuple(fields)


def _quantiles(values: "np.ndarray[Any, np.dtype[np.float64]]") -> dict[str, float]:
    """Return quantiles and mean of (N,) finite numbers; nothing of none."""
    if not len(values):
        return {}
    found = np.quantile(values, list(_QUANTILES.values()))
    return {**dict(zip(_QUANTILES, map(float, found), strict=True)), "mean": float(values.mean())}
