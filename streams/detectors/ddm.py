"""DDM over error bits: the error rate so far, in standard deviations above its lowest point.

J. Gama et al., "Learning with drift detection", SBIA 2004. As in river, which the tests hold it to.
"""

from math import inf, sqrt
from typing import Any


class Ddm:
    """Detects an increase once rate and deviation pass the lowest by `deviations`. Memory: four numbers."""

    def __init__(self, deviations: float = 3.0, min_labels: int = 30) -> None:
        self._deviations = deviations
        self._min_labels = min_labels
        self._start()

    def _start(self) -> None:
        self._count = 0
        self._rate = 0.0
        self._low_rate, self._low_deviation = inf, 0.0
        self._detected = False

    @property
    def drift_detected(self) -> bool:
        return self._detected

    def update(self, error: bool) -> None:  # noqa: FBT001  # the detector's one input
        if self._detected:
            self._start()
        self._count += 1
        self._rate += (error - self._rate) / self._count
        if self._count <= self._min_labels:
            return
        deviation = sqrt(max(0.0, self._rate * (1.0 - self._rate)) / self._count)
        if self._rate + deviation <= self._low_rate + self._low_deviation:
            self._low_rate, self._low_deviation = self._rate, deviation
        self._detected = self._rate + deviation > self._low_rate + self._deviations * self._low_deviation

    def snapshot(self) -> dict[str, Any]:
        low = None if self._low_rate == inf else self._low_rate  # JSON has no infinity
        return {
            "count": self._count,
            "rate": self._rate,
            "low": [low, self._low_deviation],
            "detected": self._detected,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._count = state["count"]
        self._rate = state["rate"]
        low, self._low_deviation = state["low"]
        self._low_rate = inf if low is None else low
        self._detected = state["detected"]
