"""Rows of readings: consumes what a watch reads of each event, produces even samples of bounded size.

A sample is the reference, or the pane of an event-time window (`streams.operators.windows`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

Event = tuple[str, int, int, str, str]
"""Which event it was: topic, partition, offset, source and id."""


def event_of(fields: Sequence[Any]) -> Event:
    """Return an event as it was before a snapshot made a list of it."""
    topic, partition, offset, source, id = fields
    return topic, partition, offset, source, id


class Row(NamedTuple):
    """One event's readings, and which event it was."""

    time: float
    readings: list[float]
    event: Event


class Thinned:
    """At most `2 * capacity` rows, evenly taken from all that were offered."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self.rows: list[Row] = []
        self.seen = 0
        self._stride = 1

    def wants(self) -> bool:
        """Count an event and tell whether its row is to be kept."""
        self.seen += 1
        return (self.seen - 1) % self._stride == 0

    def keep(self, row: Row) -> None:
        """Keep a row that was wanted."""
        self.rows.append(row)
        if len(self.rows) >= 2 * self._capacity:
            self.rows = self.rows[::2]
            self._stride *= 2

    def add(self, row: Row) -> None:
        """Keep a row if its turn has come."""
        if self.wants():
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
        return {"rows": [list(row) for row in self.rows], "seen": self.seen, "stride": self._stride}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.rows = [Row(time, list(readings), tuple(event)) for time, readings, event in state["rows"]]
        self.seen = state["seen"]
        self._stride = state["stride"]
