"""Event-time windows: consumes timed values by key and a watermark, produces the windows it has passed.

The terms are those of T. Akidau et al., "The Dataflow Model" (PVLDB 8, 2015): a window of a key holds one
pane; it fires when the watermark reaches its end, and again, accumulating, for late values if these are
waited for. Tumbling windows follow one another, sliding (hopping) ones begin every so often and overlap; both
are aligned to 1970, and cut to the microsecond. Windows of the last so many readings are `count_windows`.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Final, Generic, Literal, NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

_MOST_AT_ONCE: Final = 1000
_NEVER: Final = -(2**63)


class Pane(Protocol):
    """What one window of one key holds; its own size is its own to bound."""

    def add(self, value: Any, /) -> None:
        """Take in a value."""
        ...

    def snapshot(self) -> Any:
        """Return the state as plain values."""
        ...

    def restore(self, state: Any, /) -> None:
        """Go on from a snapshot."""
        ...


P = TypeVar("P", bound=Pane)


class Values:
    """The plainest pane: every value, in order of arrival. Unbounded but for the window's length."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def add(self, value: Any) -> None:
        """Append a value."""
        self.values.append(value)

    def snapshot(self) -> list[Any]:
        """Return a copy of the values."""
        return list(self.values)

    def restore(self, state: list[Any]) -> None:
        """Go on from a snapshot."""
        self.values = list(state)


@dataclass(frozen=True)
class Windowing:
    """How time is cut, and what becomes of what comes late.

    Args:
        size_s: a window covers `[start, start + size_s)`.
        every_s: the distance between two starts; 0 makes it `size_s`: tumbling windows.
        late: what becomes of a value all of whose windows are closed: `drop` counts it; `update` keeps a
            window open to `lateness_s` after it fired and fires it again; `side` hands it out by `take_late`.
        lateness_s: how long a fired window is kept for late values, by the watermark; with `update` alone.
        max_open: windows open at once over all keys. When there are more, those furthest in the future go.
        max_late: late values kept at once for `take_late`; further ones are dropped and counted.
    """

    size_s: float
    every_s: float = 0.0
    late: Literal["drop", "update", "side"] = "drop"
    lateness_s: float = 0.0
    max_open: int = 10_000
    max_late: int = 10_000

    def __post_init__(self) -> None:
        """Check the whole.

        Raises:
            ValueError: no windows, gaps between windows, or more than 1,000 windows over every moment.
        """
        if not (isfinite(self.size_s) and self.size_us > 0 and 0 <= self.every_s <= self.size_s):
            raise ValueError("size_s must be a microsecond at least, and every_s at most size_s")
        if self.size_us > _MOST_AT_ONCE * self.step_us:
            raise ValueError(f"more than {_MOST_AT_ONCE} windows would cover each moment")
        if self.lateness_s < 0 or (self.lateness_s and self.late != "update"):
            raise ValueError("lateness_s is for late = 'update', and at least 0")

    @property
    def size_us(self) -> int:
        """The length of a window in microseconds."""
        return micros(self.size_s)

    @property
    def step_us(self) -> int:
        """The distance between two starts in microseconds."""
        return max(1, micros(self.every_s)) if self.every_s else self.size_us


def micros(seconds: float) -> int:
    """Return whole microseconds: with integers, windows neither overlap by an ulp nor leave one out."""
    return round(seconds * 1e6)


class Fired(NamedTuple, Generic[P]):
    """A window that the watermark passed. `revision` counts how often it fired before."""

    key: str
    start_s: float
    end_s: float
    pane: P
    revision: int


class Late(NamedTuple):
    """A value that came after all of its windows were closed."""

    key: str
    time_s: float
    value: Any


class _Open(Generic[P]):
    __slots__ = ("end_us", "pane", "revision", "stale")

    def __init__(self, pane: P, end_us: int) -> None:
        self.pane = pane
        self.end_us = end_us
        self.revision = 0
        self.stale = True  # holds what no firing has shown


class EventWindows(Generic[P]):
    """The open windows of every key. Bounded by `max_open` panes.

    Whatever the order in which values come, those that come before the watermark passes their windows' ends
    are in exactly the windows that cover their times.

    >>> windows = EventWindows(Windowing(size_s=10.0), Values)
    >>> windows.add("a", 3.0, "x"), windows.add("a", 12.0, "y"), windows.add("a", 9.0, "z")
    (True, True, True)
    >>> [(f.start_s, f.pane.values) for f in windows.advance(10.0)]
    [(0.0, ['x', 'z'])]
    >>> windows.add("a", 9.5, "late"), windows.counters["late"]
    (False, 1)
    """

    def __init__(self, windowing: Windowing, pane: Callable[[], P]) -> None:
        self._windowing = windowing
        self._size_us, self._step_us = windowing.size_us, windowing.step_us
        self._lateness_us = micros(windowing.lateness_s)
        self._pane = pane
        self._open: dict[tuple[str, int], _Open[P]] = {}  # by key and number; number n starts at n · step
        self._late: deque[Late] = deque()
        self._watermark_us = _NEVER
        self._due_us = _NEVER  # before it, no advance has anything to do
        self.counters: Counter[str] = Counter()
        """`late`: values that came too late; `refused`: values too far ahead while all places were taken;
        `displaced`: windows that were given up for earlier ones; `overflowed`: late values not kept."""

    def __len__(self) -> int:
        return len(self._open)

    def add(self, key: str, time_s: float, value: Any) -> bool:
        """Put a value into its windows; tells whether there was any, else it counts as late or refused."""
        late_before = self.counters["late"]
        panes = self.panes(key, time_s)
        for pane in panes:
            pane.add(value)
        if self._windowing.late == "side" and self.counters["late"] > late_before:
            if len(self._late) < self._windowing.max_late:
                self._late.append(Late(key, time_s, value))
            else:
                self.counters["overflowed"] += 1
        return bool(panes)

    def panes(self, key: str, time_s: float) -> list[P]:
        """Return the panes that a value of this time belongs to, for values that are costly to make.

        Empty when all of its windows are closed, which counts as late.
        """
        found, closed = [], 0
        numbers = self._numbers(micros(time_s))
        for number in numbers:
            opened = self._open.get((key, number))
            if opened is None:
                if self._closed(number):
                    closed += 1
                    continue
                opened = self._make(key, number, number * self._step_us + self._size_us)
                if opened is None:
                    continue
            elif not opened.stale:
                opened.stale = True
                self._due_us = min(self._due_us, opened.end_us)
            found.append(opened.pane)
        if closed == len(numbers):
            self.counters["late"] += 1
        elif not found:
            self.counters["refused"] += 1
        return found

    def spread(self, key: str, times_s: Floats) -> Iterator[tuple[P, Ints]]:
        """Yield the panes that values of these times (N,) belong to, each with the values' indices.

        For tumbling windows; indices ascend. Values whose window is closed count as late.

        Raises:
            ValueError: the windows overlap.
        """
        if self._step_us != self._size_us:
            raise ValueError("values are spread over tumbling windows only")
        numbers = np.floor_divide(np.rint(times_s * 1e6).astype(np.int64), self._size_us)
        for number in np.unique(numbers):
            indices = np.flatnonzero(numbers == number)
            panes = self.panes(key, (int(number) * self._size_us) / 1e6)
            if not panes:
                # The first of them was counted by asking for its pane.
                counted = "late" if self._closed(int(number)) else "refused"
                self.counters[counted] += indices.size - 1
            for pane in panes:
                yield pane, indices

    def _closed(self, number: int) -> bool:
        end_us = number * self._step_us + self._size_us
        return end_us + self._lateness_us <= self._watermark_us

    def _numbers(self, time_us: int) -> range:
        """Return the numbers of the windows that cover a moment, oldest first."""
        return range((time_us - self._size_us) // self._step_us + 1, time_us // self._step_us + 1)

    def _make(self, key: str, number: int, end_us: int) -> _Open[P] | None:
        """Open a window; with all places taken, instead of one that ends later, if there is one."""
        if len(self._open) >= self._windowing.max_open:
            last = max(self._open, key=lambda at: self._open[at].end_us)
            if self._open[last].end_us <= end_us:
                return None
            del self._open[last]
            self.counters["displaced"] += 1
        opened = self._open[(key, number)] = _Open(self._pane(), end_us)
        self._due_us = min(self._due_us, end_us)
        return opened

    def advance(self, watermark_s: float) -> list[Fired[P]]:
        """Move to a watermark (it never goes back); returns the windows that fire, in order of their ends.

        A pane handed out belongs to the caller, unless late values may still update it: then read it before
        the next `add`.
        """
        if watermark_s > -inf:
            self._watermark_us = max(self._watermark_us, micros(watermark_s))
        if self._watermark_us < self._due_us or not self._open:
            return []
        fired = []
        due_us = []
        for (key, number), opened in list(self._open.items()):
            if opened.end_us > self._watermark_us:
                due_us.append(opened.end_us)
                continue
            if opened.stale:
                start_s = number * self._step_us / 1e6
                fired.append(Fired(key, start_s, opened.end_us / 1e6, opened.pane, opened.revision))
                opened.revision += 1
                opened.stale = False
            if opened.end_us + self._lateness_us <= self._watermark_us:
                del self._open[(key, number)]
            else:
                due_us.append(opened.end_us + self._lateness_us)
        self._due_us = min(due_us, default=_NEVER)
        return sorted(fired, key=lambda one: (one.end_s, one.key))

    def take_late(self) -> list[Late]:
        """Return the late values since the last call; with `late = "side"` alone."""
        taken = list(self._late)
        self._late.clear()
        return taken

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "watermark": self._watermark_us,
            "open": [
                [key, number, opened.revision, opened.stale, opened.pane.snapshot()]
                for (key, number), opened in self._open.items()
            ],
            "late": [list(late) for late in self._late],
            "counters": dict(self.counters),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot of windows that were cut in the same way."""
        self._watermark_us = state["watermark"]
        self._open.clear()
        self._due_us = _NEVER  # the next advance finds it
        for key, number, revision, stale, kept in state["open"]:
            opened = self._open[(key, number)] = _Open(self._pane(), number * self._step_us + self._size_us)
            opened.revision, opened.stale = revision, stale
            opened.pane.restore(kept)
        self._late = deque(Late(*late) for late in state["late"])
        self.counters = Counter(state["counters"])
