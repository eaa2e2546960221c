"""HDDM_A over error bits: compares the error rate so far with its lowest point by Hoeffding's bound.

I. Frías-Blanco et al., "Online and non-parametric drift detection methods based on Hoeffding's bounds", IEEE
TKDE 27(3), 2015. Good at abrupt changes; needs two sums.
"""

from math import log, sqrt
from typing import Any


class HddmA:
    """Detects an increase of the mean with confidence `1 - delta`. Memory: four numbers."""

    def __init__(self, delta: float = 0.001) -> None:
        self._delta = delta
        self._log = log(1.0 / delta)
        self._log2 = log(2.0 / delta)
        self._start()

    def _start(self) -> None:
        self._count = 0
        self._sum = 0
        self._low_count = 0
        self._low_sum = 0
        self._detected = False

    @property
    def drift_detected(self) -> bool:
        return self._detected

    def update(self, error: bool) -> None:  # noqa: FBT001  # the detector's one input
        if self._detected:
            self._start()
        self._count += 1
        self._sum += error
        count, low = self._count, self._low_count
        mean = self._sum / count
        upper = mean + sqrt(self._log / (2.0 * count))
        if low == 0 or self._low_sum / low + sqrt(self._log / (2.0 * low)) >= upper:
            self._low_count, self._low_sum = count, self._sum
            return
        bound = sqrt((count - low) / (low * count) / 2.0 * self._log2)
        self._detected = mean - self._low_sum / low >= bound

    def snapshot(self) -> dict[str, Any]:
        return {
            "count": self._count,
            "sum": self._sum,
            "low_count": self._low_count,
            "low_sum": self._low_sum,
            "detected": self._detected,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._count = state["count"]
        self._sum = state["sum"]
        self._low_count = state["low_count"]
        self._low_sum = state["low_sum"]
        self._detected = state["detected"]
