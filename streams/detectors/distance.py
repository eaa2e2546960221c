"""How far two samples lie apart, from quantiles: evidence beside the PSI, in the feature's own units."""

from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

QUANTILES: Final = np.linspace(0.0, 1.0, 101)
"""The shares at which a reference's quantiles are kept."""


def wasserstein(reference: Floats, values: Floats) -> float:
    """Return the mean distance between the two quantile functions, in units of the feature.

    L. N. Vaserstein, 1969; on the line W₁ = ∫ |F⁻¹(u) − G⁻¹(u)| du. `reference` holds the quantiles at
    `QUANTILES`; NaN in `values` is left out. NaN when either side is empty.
    """
    known = values[~np.isnan(values)]
    if not known.size or np.isnan(reference).any():
        return float("nan")
    return float(np.mean(np.abs(np.quantile(known, QUANTILES) - reference)))


def kolmogorov_smirnov(reference: Floats, values: Floats) -> float:
    """Return the largest distance between the two distribution functions, 0 to 1.

    A. Kolmogorov, 1933; N. Smirnov, 1939. Read off at the reference's quantiles, so within 0.01.
    """
    known = np.sort(values[~np.isnan(values)])
    if not known.size or np.isnan(reference).any():
        return float("nan")
    at = np.unique(reference)
    share = np.searchsorted(known, at, side="right") / known.size
    expected = np.searchsorted(reference, at, side="right") / reference.size
    below = np.searchsorted(known, at, side="left") / known.size
    expected_below = np.searchsorted(reference, at, side="left") / reference.size
    return float(max(np.abs(share - expected).max(), np.abs(below - expected_below).max()))
