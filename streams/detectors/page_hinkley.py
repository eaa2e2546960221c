"""Page-Hinkley over error bits: sums how far the errors lie above their running mean.

E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954; the forgetting factor as in river and MOA.
"""

from math import inf
from typing import Any


class PageHinkley:
    """Detects an increase once the excess over its lowest point passes `threshold` (in errors).

    `slack` is the rise of the rate that is tolerated, `keep` forgets the old excess. Memory: four numbers.
    """

    def __init__(
        self, threshold: float = 50.0, slack: float = 0.05, keep: float = 0.9999, min_labels: int = 100
    ) -> None:
        self._threshold = threshold
        self._slack = slack
        self._keep = keep
        self._min_labels = min_labels
        self._start()

    def _start(self) -> None:
        self._count = 0
        self._mean = 0.0
        self._excess = 0.0
        self._lowest = inf
        self._detected = False

    @property
    def drift_detected(self) -> bool:
        return self._detected

    def update(self, error: bool) -> None:  # noqa: FBT001  # the detector's one input
        if self._detected:
            self._start()
        self._count += 1
        self._mean += (error - self._mean) / self._count
        self._excess = self._keep * self._excess + error - self._mean - self._slack
        self._lowest = min(self._lowest, self._excess)
        if self._count >= self._min_labels:
            self._detected = self._excess - self._lowest > self._threshold

    def snapshot(self) -> dict[str, Any]:
        return {
            "count": self._count,
            "mean": self._mean,
            "excess": self._excess,
            "lowest": None if self._lowest == inf else self._lowest,  # JSON has no infinity
            "detected": self._detected,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._count = state["count"]
        self._mean = state["mean"]
        self._excess = state["excess"]
        self._lowest = inf if state["lowest"] is None else state["lowest"]
        self._detected = state["detected"]
