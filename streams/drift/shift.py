"""Shift of a distribution: consumes rows of readings, finds when windows agree that features moved.

Used for what comes in (features of events) and for what the model answers (class, confidence) alike.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from schemas.config import ShiftDrift
from streams.drift.compare import JOINT, Comparison, Features, Moved, Tested
from streams.drift.rows import Event, Row, Thinned, event_of, row_of
from streams.drift.terms import TermShift
from streams.operators.watermark import Watermark
from streams.operators.windows import EventWindows, Windowing

Floats = npt.NDArray[np.float64]
_MAX_LISTED: Final = 8
_MAX_ROWS: Final = 1024
_AGREEING: Final = 8
_IDLE_S: Final = 5.0
_OPEN: Final = 8
_ASTRAY: Final = 64
_AT_ONCE: Final = 1024
_LOOKED_AT: Final = 50
_MIDDLE: Final = (0.02, 0.98)
"""Quantiles between which times are taken to be right: what lies outside may be wrong clocks."""


@dataclass(frozen=True)
class Shift:
    """What a window showed. `first` is the earliest event of the first window in the row of moved ones.

    `joint` is what all features together said, `moved_jointly` whether that is what was found; without a
    feature that moved alone, `moved` has those that lie furthest off.
    """

    moved: list[Moved]
    since: float
    window_from: float
    window_to: float
    observations: int
    first: Event
    examples: list[Event]
    terms: list[TermShift]
    joint: Tested | None
    expected_run_time: float
    moved_jointly: bool

    @property
    def found_by(self) -> Tested:
        """The test that found it."""
        if self.moved_jointly and self.joint is not None:
            return self.joint
        return self.moved[0].found_by


class ShiftWatch:
    """A reference from the first events, then one comparison per window; `hysteresis` of them must agree.

    A window that closed stays as it is: what comes for it later is counted and left out. One with too few
    events goes on with the next. A few wrong clocks move nothing: eight of 64 events must agree on how far
    event time is; a partition that lies six windows behind the others is not waited for. When for five
    seconds nothing but late events came, event time itself went back, and the windows begin anew there.

    `features` is asked once, when the reference is complete. Memory: eight open windows of twice 1,024 rows
    (or `min_events`); denser streams are thinned evenly, from the start as much as the window before was.
    """

    def __init__(self, config: ShiftDrift, hysteresis: int, features: Callable[[], Features]) -> None:
        self._config = config
        self._hysteresis = hysteresis
        self._features = features
        self.start()

    def take(self, config: ShiftDrift, hysteresis: int) -> None:
        """Go on by another configuration; the reference stays while it is asked the same by the same tests.

        Other windows begin anew: what was gathered for the old ones is left out.
        """
        before, self._config, self._hysteresis = self._config, config, hysteresis
        if any(getattr(before, key) != getattr(config, key) for key in ("detectors", "reference")):
            self.start()
        elif (before.window, before.lateness) != (config.window, config.lateness):
            reached = self._watermark.newest_s
            self._cut()
            self._from = reached
        if self.comparison is not None:
            self.comparison.take(config)

    def start(self) -> None:
        """Forget everything and collect a new reference."""
        self._collected: Thinned | None = Thinned(self._config.reference)
        self.comparison: Comparison | None = None
        self._streaks: dict[int, int] = {}
        self._began: tuple[float, Event] | None = None
        self.quiet = 0
        self.observations = 0
        self.windows = 0
        self.late = 0
        """Events that came after their window had closed, or far ahead of the others."""
        self._cut()

    def _cut(self) -> None:
        """Begin with the first window."""
        self._watermark = Watermark(self._config.lateness, _IDLE_S, agreeing=_AGREEING)
        self._windows = EventWindows(
            Windowing(self._config.window, max_open=_OPEN),
            lambda: Thinned(max(_MAX_ROWS, self._config.min_events), self._stride),
        )
        self._stride = 1
        self._gathered: list[Row] = []
        self._from = float("-inf")  # from where on the gathered windows cover event time
        self._on_time_at: float | None = None
        self._astray = 0

    @property
    def readiness(self) -> float:
        """Share of the reference that has arrived."""
        if self._collected is None:
            return 1.0
        wanted, window_s = self._config.reference, self._config.window
        return min(self._collected.seen / wanted, self._collected.span_s() / window_s, 0.99)

    def update(
        self, times: Floats, partitions: npt.NDArray[np.int64], now_s: float, row: Callable[[int], Row]
    ) -> Shift | None:
        """Take events at `now_s`: their times `(n,)`, partitions `(n,)`, and what makes the row of one.

        Returns the latest shift that they complete the evidence for.
        """
        found = None
        for start, stop in self._slices(times):
            part = times[start:stop]
            self._place(part, lambda index, start=start: row(start + index))  # type: ignore[misc]
            found = self._advance(part, partitions[start:stop], now_s) or found
            self._complete(part.size)
        return found

    def _slices(self, times: Floats) -> Iterator[tuple[int, int]]:
        """Yield what to take at once: a backlog must not open more windows than there are places for."""
        left = [(start, min(start + _AT_ONCE, times.size)) for start in range(0, times.size, _AT_ONCE)][::-1]
        most_s = _OPEN // 2 * self._config.window
        while left:
            start, stop = left.pop()
            part = times[start:stop]
            if (
                stop - start > _AGREEING
                and np.ptp(part) > most_s
                and np.ptp(np.quantile(part, _MIDDLE)) > most_s
            ):
                middle = (start + stop) // 2
                left += [(middle, stop), (start, middle)]
            else:
                yield start, stop

    def _place(self, times: Floats, row: Callable[[int], Row]) -> None:
        """Put events into the reference, or into their windows; those that are late are counted."""
        if self._collected is not None:
            for index in self._collected.offered(times.size):
                self._collected.keep(row(index))
            return
        placed = 0
        for pane, indices in self._windows.spread("", times):
            placed += indices.size
            for index in pane.offered(indices.size):
                pane.keep(row(int(indices[index])))
        self.late += times.size - placed
        self._astray = 0 if placed else self._astray + times.size

    def _complete(self, new: int) -> None:
        """Make the collected rows the reference once there are enough, over long enough a time."""
        collected = self._collected
        if collected is None or collected.seen < self._config.reference:
            return
        if collected.seen // _LOOKED_AT == (collected.seen - new) // _LOOKED_AT:
            return
        if collected.span_s() >= self._config.window:
            self.comparison = Comparison(self._features(), collected.rows, self._config)
            self._collected = None
            # Not from the end of what comes next: of a backlog that is seconds later, and the windows in
            # between would be judged together with the one after them.
            self._from = self._watermark.newest_s

    def _advance(self, times: Floats, partitions: npt.NDArray[np.int64], now_s: float) -> Shift | None:
        """Note events' times; if that closes windows, return what `hysteresis` of them agree on."""
        if self._astray == 0 or self._on_time_at is None:
            self._on_time_at = now_s
        elif self._astray >= _ASTRAY and now_s - self._on_time_at > _IDLE_S:
            self._cut()
        for partition in np.unique(partitions):
            self._watermark.update_many(int(partition), times[partitions == partition], now_s)
        if self.comparison is None:
            return None
        newest = self._watermark.newest_s
        if self._from == float("-inf"):
            self._from = newest
        found = None
        window_s = self._config.window
        for fired in self._windows.advance(max(self._watermark.value, newest - (_OPEN - 2) * window_s)):
            self._gathered += fired.pane.rows
            few = len(fired.pane.rows) < max(_MAX_ROWS, self._config.min_events) // 2
            self._stride = max(1, fired.pane.stride // 2) if few else fired.pane.stride
            enough = len(self._gathered) >= self._config.min_events
            if enough and fired.end_s - self._from >= 0.99 * window_s:
                found = self._compare(self.comparison, self._gathered) or found
                self._gathered, self._from = [], fired.end_s
        return found

    def _compare(self, comparison: Comparison, rows: list[Row]) -> Shift | None:
        comparison.update(rows)
        self.windows += 1
        self.observations = len(rows)
        moved = comparison.moved
        self._streaks = {f: self._streaks.get(f, 0) + 1 for f in moved}
        if not moved:
            self._began = None
            self.quiet += 1
            return None
        self.quiet = 0
        earliest = min(rows, key=lambda row: row.time)
        if self._began is None:
            self._began = (earliest.time, earliest.event)
        lasting = [f for f in moved if self._streaks[f] >= self._hysteresis]
        if not lasting:
            return None
        alone = [f for f in lasting if f != JOINT]
        listed = alone[:_MAX_LISTED] or comparison.ranked(3)
        joint = comparison.joint
        return Shift(
            moved=[comparison.told(f) for f in listed],
            since=self._began[0],
            window_from=earliest.time,
            window_to=max(row.time for row in rows),
            observations=len(rows),
            first=self._began[1],
            examples=comparison.examples(listed[0]),
            terms=comparison.terms(),
            joint=Tested("mmd", joint.statistic, joint.threshold) if joint else None,
            expected_run_time=joint.expected_run_time if joint else 0.0,
            moved_jointly=not alone,
        )

    def nearest(self) -> tuple[str, float, float]:
        """Return name, statistic and threshold of the feature nearest to its threshold."""
        return self.comparison.nearest() if self.comparison else ("", 0.0, self._config.psi)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "collected": self._collected.snapshot() if self._collected else None,
            "comparison": self.comparison.snapshot() if self.comparison else None,
            "watermark": self._watermark.snapshot(),
            "windows": self._windows.snapshot(),
            "gathered": [list(row) for row in self._gathered],
            "stride": self._stride,
            "from": None if self._from == float("-inf") else self._from,
            "astray": [self._astray, self._on_time_at],
            "streaks": [list(item) for item in self._streaks.items()],
            "began": self._began,
            "counts": [self.quiet, self.observations, self.windows, self.late],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.start()
        if state["collected"] is None:
            self._collected = None
        elif self._collected is not None:
            self._collected.restore(state["collected"])
        self.comparison = Comparison.restored(state["comparison"]) if state["comparison"] else None
        self._watermark.restore(state["watermark"])
        self._windows.restore(state["windows"])
        self._stride = state["stride"]
        self._from = float("-inf") if state["from"] is None else state["from"]
        self._gathered = [row_of(row) for row in state["gathered"]]
        self._astray, self._on_time_at = state["astray"]
        self._streaks = dict(state["streaks"])
        began = state["began"]
        self._began = (began[0], event_of(began[1])) if began else None
        self.quiet, self.observations, self.windows, self.late = state["counts"]
