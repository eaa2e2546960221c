"""HDDM_W over error bits: compares two exponentially weighted error rates by McDiarmid's bound.

I. Frías-Blanco et al., "Online and non-parametric drift detection methods based on Hoeffding's bounds", IEEE
TKDE 27(3), 2015. Recent labels weigh more, so it sees a change first, and errs most often.
"""

from math import inf, log, sqrt
from typing import Any


class HddmW:
    """Detects an increase of the weighted mean with confidence `1 - delta`. Memory: seven numbers.

    `weight` is that of the newest bit (λ in the paper).
    """

    def __init__(self, delta: float = 0.001, weight: float = 0.05) -> None:
        self._log = log(1.0 / delta)
        self._weight = weight
        self._start()

    def _start(self) -> None:
        self._mean, self._spread, self._begun = 0.0, 1.0, False  # of all bits
        self._low, self._low_spread = 0.0, 1.0  # of the bits up to the lowest point
        self._new, self._new_spread, self._new_begun = 0.0, 1.0, False  # of the bits after it
        self._cut_at = inf
        self._detected = False

    @property
    def drift_detected(self) -> bool:
        return self._detected

    def update(self, error: bool) -> None:  # noqa: FBT001  # the detector's one input
        if self._detected:
            self._start()
        weight, keep = self._weight, 1.0 - self._weight
        self._mean = keep * self._mean + weight * error if self._begun else float(error)
        self._begun = True
        self._spread = weight * weight + keep * keep * self._spread
        upper = self._mean + sqrt(self._spread * self._log / 2.0)
        if upper < self._cut_at:
            self._cut_at = upper
            self._low, self._low_spread = self._mean, self._spread
            self._new, self._new_spread, self._new_begun = 0.0, 1.0, False
            return
        self._new = keep * self._new + weight * error if self._new_begun else float(error)
        self._new_begun = True
        self._new_spread = weight * weight + keep * keep * self._new_spread
        bound = sqrt((self._low_spread + self._new_spread) * self._log / 2.0)
        self._detected = self._new - self._low > bound

    def snapshot(self) -> dict[str, Any]:
        cut_at = None if self._cut_at == inf else self._cut_at  # JSON has no infinity
        return {
            "all": [self._mean, self._spread, self._begun],
            "low": [self._low, self._low_spread],
            "new": [self._new, self._new_spread, self._new_begun],
            "cut_at": cut_at,
            "detected": self._detected,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._mean, self._spread, self._begun = state["all"]
        self._low, self._low_spread = state["low"]
        self._new, self._new_spread, self._new_begun = state["new"]
        self._cut_at = inf if state["cut_at"] is None else state["cut_at"]
        self._detected = state["detected"]
