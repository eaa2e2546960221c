"""EDDM over error bits: how far errors lie apart, compared with when they lay furthest.

M. Baena-García et al., "Early drift detection method", 4th International Workshop on Knowledge Discovery from
Data Streams, 2006. As in river, which the tests hold it to. Made for slow changes at low error rates; it
raises many false alarms.
"""

from math import sqrt
from typing import Any


class Eddm:
    """Detects an increase once mean and two deviations of the distances fall under `share` of the highest.

    Memory: seven numbers.
    """

    def __init__(self, share: float = 0.9, min_errors: int = 30) -> None:
        self._share = share
        self._min_errors = min_errors
        self._start()

    def _start(self) -> None:
        self._count = 0
        self._errors = 0
        self._last = 0  # the label at which the newest error was
        self._mean = 0.0
        self._squares = 0.0  # of the distances, about their mean
        self._highest = -1.0
        self._detected = False

    @property
    def drift_detected(self) -> bool:
        return self._detected

    def update(self, error: bool) -> None:  # noqa: FBT001  # the detector's one input
        if self._detected:
            self._start()
        self._count += 1
        if not error:
            return
        self._errors += 1
        distance, mean = self._count - self._last, self._mean
        self._last = self._count
        self._mean += (distance - mean) / self._errors
        self._squares += (distance - mean) * (distance - self._mean)
        if self._count <= self._min_errors:
            return
        deviation = sqrt(self._squares / (self._errors - 1)) if self._errors > 1 else 0.0
        level = self._mean + 2.0 * deviation
        if level > self._highest:
            self._highest = level
        elif self._errors > self._min_errors:
            self._detected = level / self._highest < self._share

    def snapshot(self) -> dict[str, Any]:
        return {
            "count": self._count,
            "errors": self._errors,
            "last": self._last,
            "distances": [self._mean, self._squares],
            "highest": self._highest,
            "detected": self._detected,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._count = state["count"]
        self._errors = state["errors"]
        self._last = state["last"]
        self._mean, self._squares = state["distances"]
        self._highest = state["highest"]
        self._detected = state["detected"]
