"""Kolmogorov-Smirnov distance: consumes windows of readings, says which features have moved.

The largest distance between the two distribution functions, 0 to 1 (A. Kolmogorov, 1933; N. Smirnov, 1939),
read off at the reference's quantiles and so within 0.01. Categories have no order and no such distance.
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from streams.detectors.reference import Window
from streams.detectors.window_test import WindowTest, smirnov_bound

Floats = npt.NDArray[np.float64]


class KolmogorovSmirnov(WindowTest):
    """The distance per feature."""

    name: ClassVar[str] = "ks"
    matters: ClassVar[float] = 0.2

    def distances(self, window: Window) -> Floats:
        """Return each feature's distance, `(F,)`; NaN for categories and where nothing was read."""
        found = np.full(len(self.reference.names), np.nan)
        for f in np.flatnonzero(self.reference.numeric & (window.known > 0)):
            quantiles = self.reference.quantiles[f]
            if not np.isnan(quantiles[0]):
                found[f] = _furthest(quantiles, window.values(int(f)))
        return found

    def chance(self, window: Window, alpha: float) -> Floats:
        """Return the distance that a steady window exceeds with probability `alpha`, `(F,)`."""
        read = np.maximum(1.0, self.reference.counts[:, :-1].sum(axis=1))
        return smirnov_bound(np.maximum(1.0, window.known), read, alpha) + 0.01


def _furthest(quantiles: Floats, values: Floats) -> float:
    """Return the distance of ascending values from a distribution known by its quantiles, from both sides."""
    at = np.unique(quantiles)
    share = np.searchsorted(values, at, side="right") / values.size
    below = np.searchsorted(values, at, side="left") / values.size
    expected = np.searchsorted(quantiles, at, side="right") / quantiles.size
    expected_below = np.searchsorted(quantiles, at, side="left") / quantiles.size
    return float(max(np.abs(share - expected).max(), np.abs(below - expected_below).max()))
