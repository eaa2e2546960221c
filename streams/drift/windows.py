"""Event-time windows of readings: consumes rows in any order, produces windows that are large enough.

A window ends when events agree that time has moved on: a few wrong clocks neither end it nor carry it away.
"""

from statistics import median
from typing import Any, Final, NamedTuple

_AGREEING: Final = 8
_MAX_ROWS: Final = 2048


class Row(NamedTuple):
    """One event's readings, and which event it was: `topic, partition, offset, source, id`."""

    time: float
    readings: list[float]
    event: tuple[str, int, int, str, str]


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


class EventWindows:
    """Tumbling windows of at least `window_s` of event time and `min_rows` events.

    Memory: twice 2,048 rows; denser streams are thinned evenly.
    """

    def __init__(self, window_s: float, min_rows: int) -> None:
        self._window_s = window_s
        self._min_rows = min_rows
        self._current = Thinned(max(_MAX_ROWS, min_rows))
        self._start: float | None = None
        self._elsewhere: list[float] = []
        self._score = 0
        self.late = 0

    def advance(self, time: float) -> list[Row] | None:
        """Note an event's time; returns the rows of the window that this ends, if it does."""
        if self._start is None:
            self._start = time
        if not self._is_elsewhere(time):
            self._score = max(0, self._score - 1)
            return None
        self.late += time < self._start
        self._elsewhere = [*self._elsewhere[1 - _AGREEING :], time]
        self._score += 1
        if self._score < _AGREEING:
            return None
        rows = self._current.rows if self._current.seen >= self._min_rows else None
        self._current = Thinned(max(_MAX_ROWS, self._min_rows))
        self._start = median(self._elsewhere)
        self._elsewhere, self._score = [], 0
        return rows

    def wants(self, time: float) -> bool:
        """Tell whether the row of an event is to be kept; call `keep` with it then."""
        return not self._is_elsewhere(time) and self._current.wants()

    def keep(self, row: Row) -> None:
        """Put a wanted row into the current window."""
        self._current.keep(row)

    def _is_elsewhere(self, time: float) -> bool:
        """Tell whether a time lies before or after the window; one that is too small goes on."""
        start = self._start if self._start is not None else time
        if time < start - self._window_s:
            return True
        return time >= start + self._window_s and self._current.seen >= self._min_rows

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "current": self._current.snapshot(),
            "start": self._start,
            "elsewhere": self._elsewhere,
            "score": self._score,
            "late": self.late,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self._current.restore(state["current"])
        self._start = state["start"]
        self._elsewhere = list(state["elsewhere"])
        self._score = state["score"]
        self.late = state["late"]
