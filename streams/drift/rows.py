"""Rows of readings: consumes what a watch reads of each event, produces even samples of bounded size.

A sample is the reference, or the pane of an event-time window (`streams.operators.windows`).
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Event = tuple[str, int, int, str, str]
"""Which event it was: topic, partition, offset, source and id."""


def event_of(fields: Sequence[Any]) -> Event:
    """Return an event as it was before a snapshot made a list of it."""
    topic, partition, offset, source, id = fields
    return topic, partition, offset, source, id


class Row(NamedTuple):
    """One event's readings, which event it was, and the terms of its text, if it has one."""

    time: float
    readings: list[float]
    event: Event
    terms: tuple[str, ...] = ()


def row_of(fields: Sequence[Any]) -> Row:
    """Return a row as it was before a snapshot made a list of it."""
    time, readings, event, terms = fields
    return Row(time, list(readings), event_of(event), tuple(terms))


class Thinned:
    """At most `2 * capacity` rows, evenly taken from all that were offered.

    One of `stride` is kept, and of twice as many whenever there are too many. Rows are costly to make: who
    knows how many events will come begins with a larger stride.
    """

    def __init__(self, capacity: int, stride: int = 1) -> None:
        self._capacity = capacity
        self.rows: list[Row] = []
        self.seen = 0
        self.stride = stride

    def offered(self, count: int) -> Iterator[int]:
        """Count events, and yield the indices of those whose rows are to be kept before the next is asked."""
        first = self.seen
        self.seen += count
        index = -first % self.stride
        while index < count:
            yield index
            index += 1
            index += -(first + index) % self.stride

    def keep(self, row: Row) -> None:
        """Keep a row that was wanted."""
        self.rows.append(row)
        if len(self.rows) >= 2 * self._capacity:
            self.rows = self.rows[::2]
            self.stride *= 2

    def add(self, row: Row) -> None:
        """Keep a row if its turn has come."""
        for _ in self.offered(1):
            self.keep(row)

    def span_s(self) -> float:
        """Event time covered, the outermost 2 % on each side left out as wrong clocks."""
        if len(self.rows) < 2:
            return 0.0
        times = sorted(row.time for row in self.rows)
        cut = len(times) // 50
        return times[-1 - cut] - times[cut]

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {"rows": [list(row) for row in self.rows], "seen": self.seen, "stride": self.stride}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.rows = [row_of(row) for row in state["rows"]]
        self.seen = state["seen"]
        self.stride = state["stride"]


def matrix(rows: Sequence[Row], width: int) -> Floats:
    """Return the readings as `(n, width)`; rows from before a feature was known are NaN there."""
    table = np.full((len(rows), width), np.nan)
    for number, row in enumerate(rows):
        known = min(width, len(row.readings))
        table[number, :known] = row.readings[:known]
    return table
