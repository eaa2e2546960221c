"""ADWIN over error bits: keeps the longest window of labels in which no cut tells two error rates apart.

A. Bifet, R. Gavaldà, "Learning from time-changing data with adaptive windowing", SIAM SDM 2007. The window is
an exponential histogram: buckets of 1, 2, 4, … bits, at most 5 of each size before the two oldest merge. Of a
bit stream a bucket's variance follows from its sum, so a bucket is one number.
"""

from math import log, sqrt
from typing import Any, Final

_MAX_BUCKETS: Final = 5
_MIN_SIDE: Final = 5
_GRACE: Final = 10


class Adwin:
    """Detects an increase of the error rate between the two sides of some cut, with confidence `1 - delta`.

    Cuts are looked for at every `clock`-th bit. Memory: 6 numbers per doubling of the window.
    """

    def __init__(self, delta: float = 0.001, clock: int = 32) -> None:
        self._delta = delta
        self._clock = clock
        self._start()

    def _start(self) -> None:
        self._rows: list[list[int]] = [[]]  # row r: sums of buckets of 2**r bits, oldest first
        self._width = 0
        self._total = 0
        self._ticks = 0
        self._detected = False

    @property
    def drift_detected(self) -> bool:
        return self._detected

    @property
    def width(self) -> int:
        """Bits in the window: all since the newest cut."""
        return self._width

    @property
    def rate(self) -> float:
        """Error rate within the window."""
        return self._total / self._width if self._width else 0.0

    def update(self, error: bool) -> None:  # noqa: FBT001  # the detector's one input
        if self._detected:
            self._start()
        self._rows[0].append(int(error))
        self._width += 1
        self._total += error
        self._ticks += 1
        if len(self._rows[0]) > _MAX_BUCKETS:
            self._merge()
        if self._ticks % self._clock == 0 and self._width > _GRACE:
            self._detected = self._cut()

    def _merge(self) -> None:
        """Merge the two oldest of a full row into the next, as long as rows overflow."""
        row = 0
        while len(self._rows[row]) > _MAX_BUCKETS:
            if row + 1 == len(self._rows):
                self._rows.append([])
            first, second, *rest = self._rows[row]
            self._rows[row] = rest
            self._rows[row + 1].append(first + second)
            row += 1

    def _cut(self) -> bool:
        """Drop the oldest buckets while a cut separates two rates; tell whether the newer was higher."""
        increased = False
        while (rise := self._widest_rise()) != 0.0:
            increased = increased or rise > 0
            self._drop_oldest()
        return increased

    def _widest_rise(self) -> float:
        """Return newer minus older rate at the first cut that is significant, 0 when none is."""
        width, total = self._width, self._total
        if width < 2 * _MIN_SIDE:
            return 0.0
        variance = (total - total * total / width) / width
        confidence = log(2.0 * log(width) / self._delta)
        older, older_total = 0, 0
        for row in range(len(self._rows) - 1, -1, -1):
            for bucket in self._rows[row]:
                older += 1 << row
                older_total += bucket
                newer = width - older
                if newer < _MIN_SIDE:
                    return 0.0
                if older < _MIN_SIDE:
                    continue
                rise = (total - older_total) / newer - older_total / older
                inverse = 1.0 / (older - _MIN_SIDE + 1) + 1.0 / (newer - _MIN_SIDE + 1)
                bound = sqrt(2.0 * inverse * variance * confidence) + 2.0 / 3.0 * confidence * inverse
                if abs(rise) > bound:
                    return rise
        return 0.0

    def _drop_oldest(self) -> None:
        oldest = self._rows[-1].pop(0)
        self._width -= 1 << (len(self._rows) - 1)
        self._total -= oldest
        while len(self._rows) > 1 and not self._rows[-1]:
            self._rows.pop()

    def snapshot(self) -> dict[str, Any]:
        return {
            "rows": [list(row) for row in self._rows],
            "width": self._width,
            "total": self._total,
            "ticks": self._ticks,
            "detected": self._detected,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._rows = [list(row) for row in state["rows"]]
        self._width = state["width"]
        self._total = state["total"]
        self._ticks = state["ticks"]
        self._detected = state["detected"]
