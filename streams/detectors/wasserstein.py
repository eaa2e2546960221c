"""Wasserstein distance: consumes windows of readings, says which features have moved, and how far.

The mean distance between the two quantile functions, W₁ = ∫ |F⁻¹(u) − G⁻¹(u)| du (L. N. Vaserstein, 1969),
in standard deviations of the reference. The outermost half percent on either side is left out, where single
readings decide. Categories have no distances.
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from streams.detectors.reference import Window
from streams.detectors.window_test import WindowTest, smirnov_bound

Floats = npt.NDArray[np.float64]


class Wasserstein(WindowTest):
    """The distance per feature, in the reference's standard deviations."""

    name: ClassVar[str] = "wasserstein"
    matters: ClassVar[float] = 0.5

    def distances(self, window: Window) -> Floats:
        """Return each feature's distance, `(F,)`; NaN for categories and where nothing was read.

        A feature that was constant has no scale of its own: the distance is then in its own units.
        """
        inner = np.abs(window.quantiles[:, 1:-1] - self.reference.quantiles[:, 1:-1]).mean(axis=1)
        scale = np.where(self.reference.scale > 0, self.reference.scale, 1.0)
        distance: Floats = np.where(self.reference.numeric, inner / scale, np.nan)
        return distance

    def chance(self, window: Window, alpha: float) -> Floats:
        """Return a distance that a steady window exceeds with at most probability `alpha`, `(F,)`.

        ∫ |F − G| dx is at most the largest |F − G| times the width over which they differ.
        """
        quantiles = self.reference.quantiles
        scale = np.where(self.reference.scale > 0, self.reference.scale, 1.0)
        width = (quantiles[:, -2] - quantiles[:, 1]) / scale
        read = np.maximum(1.0, self.reference.counts[:, :-1].sum(axis=1))
        bound: Floats = width * smirnov_bound(np.maximum(1.0, window.known), read, alpha)
        return bound
