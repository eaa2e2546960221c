"""Pearson's test of homogeneity: consumes windows of readings, says which features' shares have moved.

The statistic is J. Cohen's effect size w = √(χ² / n) of the 2 × B table of window and reference, scaled to
two samples of one size, so that it does not grow with the window (K. Pearson, 1900; J. Cohen, "Statistical
Power Analysis for the Behavioral Sciences", 1988: 0.3 is medium, 0.5 large).
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from streams.detectors.reference import Window
from streams.detectors.window_test import WindowTest, chi_squared_bound, shares, sizes

Floats = npt.NDArray[np.float64]


class ChiSquared(WindowTest):
    """Cohen's w per feature, `√Σ (q − p)² / m` with m the mean of both shares; between 0 and 2."""

    name: ClassVar[str] = "chi_squared"
    matters: ClassVar[float] = 0.5

    def distances(self, window: Window) -> Floats:
        """Return each feature's w, `(F,)`."""
        p, q = shares(window, self.reference)
        middle = (p + q) / 2.0
        both = p.any(axis=1) & q.any(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(middle > 0, (q - p) ** 2 / middle, 0.0)
        effect: Floats = np.where(both, np.sqrt(terms.sum(axis=1)), 0.0)
        return effect

    def chance(self, window: Window, alpha: float) -> Floats:
        """Return the w that a steady window exceeds with probability `alpha`, `(F,)`."""
        n, reference, bins = sizes(window, self.reference)
        bound: Floats = np.sqrt(chi_squared_bound(bins - 1, alpha) * (1.0 / n + 1.0 / reference))
        return bound
