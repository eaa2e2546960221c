"""Population stability index of many features at once: consumes windows of readings, says which have moved.

    PSI = Σ_bins (q − p) · ln(q / p)        p: share of the reference, q: share of the window

S. Kullback's J-divergence as used in credit scoring; B. Yurdakul, "Statistical properties of population
stability index" (Western Michigan University, 2018) shows that without drift PSI / (1/n + 1/N) follows χ²
with bins − 1 degrees of freedom, which gives the noise bound below.

A feature has moved when its PSI reaches the largest of three: the configured threshold; the χ² bound at
`alpha` shared among the features (Bonferroni), so that small windows and many features do not cry; and 1.5
times what the reference's own consecutive blocks differed from it, so that a stream that always wanders may.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from streams.detectors.distance import QUANTILES

Floats = npt.NDArray[np.float64]

_BINS: Final = 10
_SMOOTHING: Final = 0.5
_BLOCKS: Final = 6
_WANDER: Final = 1.5
_MOST_WANDER: Final = 1.0


def psi(reference: Floats, window: Floats) -> float:
    """Return the PSI of two histograms over the same bins, counts `(B,)`; bins empty in both are left out.

    0 when either holds nothing.
    """
    if not reference.any() or not window.any():
        return 0.0
    used = (reference + window) > 0
    p = reference[used] + _SMOOTHING
    q = window[used] + _SMOOTHING
    p, q = p / p.sum(), q / q.sum()
    return float(np.sum((q - p) * np.log(q / p)))


def noise_bound(window: int, reference: int, bins: int, alpha: float) -> float:
    """Return the PSI that a window of steady data exceeds with probability `alpha`.

    χ² by E. B. Wilson and M. M. Hilferty's cube (PNAS 17, 1931), which is within 1 % here.
    """
    if bins < 2:
        return 0.0
    k = 2.0 / (9.0 * (bins - 1))
    chi2 = (bins - 1) * (1.0 - k + NormalDist().inv_cdf(1.0 - alpha) * sqrt(k)) ** 3
    return chi2 * (1.0 / window + 1.0 / reference)


class Psi:
    """Compares windows with a reference, feature by feature.

    Args:
        names: the features, in column order.
        reference: readings `(N, F)` in order of arrival; NaN where a reading is missing.
        threshold: PSI from which a feature counts as moved, at least.
        categories: number of codes 0, 1, … of each feature that is a category; 0 for a number.
        missing: whether a reading that is missing counts, as a bin of its own.
        alpha: chance that a steady window of all features together passes the noise bound.

    Memory: about 130 numbers a feature.
    """

    def __init__(
        self,
        names: Sequence[str],
        reference: Floats,
        *,
        threshold: float,
        categories: Sequence[int] = (),
        missing: bool = True,
        alpha: float = 1e-4,
    ) -> None:
        self.names = tuple(names)
        self._threshold = threshold
        self._missing = missing
        self._alpha = alpha
        kinds = categories or [0] * len(self.names)
        self.edges = [_edges(reference[:, f], kinds[f]) for f in range(len(self.names))]
        self.reference = self.histograms(reference)
        self.quantiles = np.stack([_quantiles(reference[:, f]) for f in range(len(self.names))])  # (F, Q)
        self._wander = self._wandering(reference)
        self._forget()

    def _forget(self) -> None:
        self.statistics = np.zeros(len(self.names))
        self.thresholds = np.full(len(self.names), self._threshold)
        self.window: list[Floats] = []

    def _wandering(self, reference: Floats) -> Floats:
        """Return the largest PSI of a block of the reference against the whole, `(F,)`."""
        worst = np.zeros(len(self.names))
        for block in np.array_split(reference, _BLOCKS):
            if len(block):
                found = [psi(r, w) for r, w in zip(self.reference, self.histograms(block), strict=True)]
                worst = np.maximum(worst, found)
        return np.minimum(worst, _MOST_WANDER)

    def histograms(self, rows: Floats) -> list[Floats]:
        """Return each feature's counts per bin, the last bin holding what is missing."""
        return [_counts(rows[:, f], edges, missing=self._missing) for f, edges in enumerate(self.edges)]

    def update(self, rows: Floats) -> None:
        """Take the next window, `(n, F)`; `statistics` and `thresholds` are those of this window."""
        self.window = self.histograms(rows)
        alpha = self._alpha / max(1, len(self.names))
        for f, (reference, window) in enumerate(zip(self.reference, self.window, strict=True)):
            bins = int(np.count_nonzero(reference + window))
            noise = noise_bound(max(1, int(window.sum())), max(1, int(reference.sum())), bins, alpha)
            self.statistics[f] = psi(reference, window)
            self.thresholds[f] = max(self._threshold, noise, _WANDER * float(self._wander[f]))

    @property
    def moved(self) -> list[int]:
        """The features that have moved, furthest over their threshold first."""
        over = self.statistics / self.thresholds
        return [int(f) for f in np.argsort(-over) if over[f] >= 1.0]

    @property
    def drift_detected(self) -> bool:
        """Whether any feature of the latest window has moved."""
        return bool(np.any(self.statistics >= self.thresholds))

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return {
            "names": list(self.names),
            "edges": [edges.tolist() for edges in self.edges],
            "reference": [counts.tolist() for counts in self.reference],
            "quantiles": self.quantiles.tolist(),
            "wander": self._wander.tolist(),
            "statistics": self.statistics.tolist(),
            "thresholds": self.thresholds.tolist(),
            "threshold": self._threshold,
            "missing": self._missing,
            "alpha": self._alpha,
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> "Psi":
        """Make a detector from a snapshot."""
        made = cls.__new__(cls)
        made.names = tuple(state["names"])
        made.edges = [np.asarray(edges, float) for edges in state["edges"]]
        made.reference = [np.asarray(counts, float) for counts in state["reference"]]
        made.quantiles = np.asarray(state["quantiles"], float).reshape(len(made.names), QUANTILES.size)
        made._wander = np.asarray(state["wander"], float)  # noqa: SLF001  # its own class
        made._threshold = state["threshold"]  # noqa: SLF001
        made._missing = state["missing"]  # noqa: SLF001
        made._alpha = state["alpha"]  # noqa: SLF001
        made.statistics = np.asarray(state["statistics"], float)
        made.thresholds = np.asarray(state["thresholds"], float)
        made.window = []
        return made


def _edges(values: Floats, categories: int) -> Floats:
    """Return the upper, closed edges of the bins: quantiles, of which a mass point makes one."""
    if categories:
        return np.arange(categories, dtype=float)
    known = values[~np.isnan(values)]
    if not known.size:
        return np.zeros(1)
    inner = np.quantile(known, np.linspace(0.0, 1.0, _BINS + 1)[1:])
    below = np.nextafter(known.min(), -np.inf)  # the bin of what is lower than anything seen
    return np.asarray(np.unique(np.append(inner, below)), float)


def _counts(values: Floats, edges: Floats, *, missing: bool) -> Floats:
    known = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(edges, known, side="left"), minlength=edges.size + 2).astype(float)
    counts[-1] = values.size - known.size if missing else 0
    return counts


def _quantiles(values: Floats) -> Floats:
    known = values[~np.isnan(values)]
    if not known.size:
        return np.full(QUANTILES.size, np.nan)
    return np.asarray(np.quantile(known, QUANTILES), float)
