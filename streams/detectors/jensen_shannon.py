"""Jensen-Shannon distance: consumes windows of readings, says which features have moved.

The square root of the divergence in bits, a metric between 0 and 1 (J. Lin, "Divergence measures based on the
Shannon entropy", IEEE Trans. Inf. Theory 37, 1991; D. Endres, J. Schindelin, "A new metric for probability
distributions", 2003). Unlike the PSI it stays finite where a bin is empty on one side.
"""

from math import log
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from streams.detectors.reference import Window
from streams.detectors.window_test import WindowTest, chi_squared_bound, shares, sizes

Floats = npt.NDArray[np.float64]


class JensenShannon(WindowTest):
    """The distance per feature."""

    name: ClassVar[str] = "jensen_shannon"
    matters: ClassVar[float] = 0.2

    def distances(self, window: Window) -> Floats:
        """Return each feature's distance, `(F,)`."""
        p, q = shares(window, self.reference)
        middle = (p + q) / 2.0
        both = p.any(axis=1) & q.any(axis=1)
        divergence = (_bits(p, middle) + _bits(q, middle)) / 2.0
        distance: Floats = np.where(both, np.sqrt(np.maximum(0.0, divergence)), 0.0)
        return distance

    def chance(self, window: Window, alpha: float) -> Floats:
        """Return the distance that a steady window exceeds with probability `alpha`, `(F,)`.

        To second order the divergence is an eighth of the PSI, in nats.
        """
        n, reference, bins = sizes(window, self.reference)
        nats = chi_squared_bound(bins - 1, alpha) * (1.0 / n + 1.0 / reference) / 8.0
        bound: Floats = np.sqrt(np.minimum(1.0, nats / log(2.0)))
        return bound


def _bits(share: Floats, middle: Floats) -> Floats:
    """Return the relative entropy of shares to their middle, row by row."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(share > 0, share * np.log2(share / middle), 0.0)
    summed: Floats = terms.sum(axis=1)
    return summed
