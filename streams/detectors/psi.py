"""Population stability index: consumes windows of readings, says which features have moved.

    PSI = Σ_bins (q − p) · ln(q / p)        p: share of the reference, q: share of the window

S. Kullback's J-divergence as used in credit scoring; B. Yurdakul, "Statistical properties of population
stability index" (Western Michigan University, 2018) shows that without drift PSI / (1/n + 1/N) follows χ²
with bins − 1 degrees of freedom, which gives the bound of chance.
"""

from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from streams.detectors.reference import Window
from streams.detectors.window_test import WindowTest, chi_squared_bound, shares, sizes

Floats = npt.NDArray[np.float64]
_SMOOTHING: Final = 0.5


class Psi(WindowTest):
    """The index per feature; 0 where either side holds nothing."""

    name: ClassVar[str] = "psi"
    matters: ClassVar[float] = 0.25

    def distances(self, window: Window) -> Floats:
        """Return each feature's index, `(F,)`."""
        p, q = shares(window, self.reference, _SMOOTHING)
        both = self.reference.counts.any(axis=1) & window.counts.any(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(p > 0, (q - p) * np.log(q / p), 0.0)
        index: Floats = np.where(both, terms.sum(axis=1), 0.0)
        return index

    def chance(self, window: Window, alpha: float) -> Floats:
        """Return the index that a steady window exceeds with probability `alpha`, `(F,)`."""
        n, reference, bins = sizes(window, self.reference)
        bound: Floats = chi_squared_bound(bins - 1, alpha) * (1.0 / n + 1.0 / reference)
        return bound
