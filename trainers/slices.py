"""Where a model is weakest: consumes held-out rows and which answers were right, produces its worst slices.

A slice is one source's rows, or one tenth of the rows in the order of event time. Slices of fewer than thirty
rows are not told: their accuracy says more about luck than about the model.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from trainers.paired import Paired
from trainers.row import Row

LEAST: Final = 30
"""Rows below which a slice is not told."""

_TOLD: Final = 3
_SPANS: Final = 10
_Z95: Final = 1.96


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the held-out rows: how right the candidate is there, within `low` and `high` (95 %).

    `champion` is the champion's accuracy on the same rows, None before the first release.
    """

    by: str
    name: str
    rows: int
    accuracy: float
    low: float
    high: float
    champion: float | None = None

    def __str__(self) -> str:
        before = "" if self.champion is None else f", champion {self.champion:.3f}"
        return (
            f"{self.by} {self.name}: {self.accuracy:.3f} ({self.low:.3f} to {self.high:.3f}{before}, "
            f"{self.rows} rows)"
        )


def worst(rows: Sequence[Row], pair: Paired) -> list[Slice]:
    """Return the three worst sources and the three worst spans of time; `pair` is of the same rows, (N,).

    Where one source sent all rows, or all rows make one span, there is nothing to compare and nothing told.
    """
    found = []
    for by, groups in (("source", by_source(rows)), ("time", _by_time(rows))):
        told = [
            _slice(by, name, pair, np.array(numbers))
            for name, numbers in groups.items()
            if len(numbers) >= LEAST
        ]
        if len(groups) > 1:
            found += sorted(told, key=lambda one: (one.accuracy, one.name))[:_TOLD]
    return found


def wilson(right: int, rows: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927), which holds for few rows and shares near 0 or 1."""
    if not rows:
        return 0.0, 1.0
    share, square = right / rows, _Z95**2
    centre = (share + square / (2 * rows)) / (1 + square / rows)
    half = _Z95 * math.sqrt(share * (1 - share) / rows + square / (4 * rows**2)) / (1 + square / rows)
    return max(0.0, centre - half), min(1.0, centre + half)


def by_source(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Return the numbers of each source's rows."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        groups[row.source].append(number)
    return groups


def _by_time(rows: Sequence[Row]) -> dict[str, list[int]]:
    order = sorted(range(len(rows)), key=lambda number: (rows[number].time, number))
    spans = [part.tolist() for part in np.array_split(np.array(order, dtype=int), _SPANS) if len(part)]
    return {
        f"{rows[span[0]].time:%Y-%m-%dT%H:%M:%S.%fZ} to {rows[span[-1]].time:%Y-%m-%dT%H:%M:%S.%fZ}": span
        for span in spans
    }


def _slice(by: str, name: str, pair: Paired, numbers: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Slice:
    right = pair.candidate[numbers]
    low, high = wilson(int(right.sum()), len(numbers))
    return Slice(
        by=by,
        name=name,
        rows=len(numbers),
        accuracy=float(right.mean()),
        low=low,
        high=high,
        champion=None if pair.champion is None else float(pair.champion[numbers].mean()),
    )
