"""Shift of a joint distribution: consumes windows of vectors, says when one has left the reference.

The maximum mean discrepancy of a window's n vectors and the reference's N (A. Gretton et al., "A kernel
two-sample test", JMLR 13, 2012), with random Fourier features φ of a Gaussian kernel:

    MMD² = ‖mean φ(window) − mean φ(reference)‖²

It sees what no feature shows alone, such as two readings that used to rise together and no longer do. Without
a shift, MMD² / (1/n + 1/N) is a sum of χ² variables weighted with the eigenvalues of φ's covariance (A.
Gretton et al., "A fast, consistent kernel two-sample test", NIPS 2009); its upper tail is that of the gamma
distribution with the same three moments (M. Buckley, G. Eagleson, Austral. J. Statist. 30, 1988). Beyond
chance, a window must lie 1.5 times further off than the reference's own blocks did; windows of more than 500
vectors are judged as if they had 500, for what those cannot tell from chance does not matter.
"""

from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from streams.detectors.fourier import FourierFeatures
from streams.detectors.window_test import ALPHA, BLOCKS, MOST_WANDER, WANDER, chi_squared_bound

Floats = npt.NDArray[np.float64]
_ENOUGH: Final = 500


class MmdWindow:
    """Compares windows of vectors `(n, D)` with a reference `(N, D)`; missing numbers are NaN.

    `alpha` is the chance that a steady window passes: the expected run time is 1 / `alpha` windows. Memory:
    258 numbers and 258 for each of the D dimensions. The same seed gives the same detector.
    """

    def __init__(self, reference: Floats, *, alpha: float = ALPHA, seed: int = 7) -> None:
        self._alpha = alpha
        known = np.where(np.isnan(reference), np.nan_to_num(_means(reference)), reference)
        self._fourier = FourierFeatures(known, np.random.default_rng(seed))
        features = self._fourier.of(known)
        self._mean = features.mean(axis=0)
        self._size = len(known)
        eigenvalues = np.maximum(0.0, np.linalg.eigvalsh(np.cov(features, rowvar=False)))
        self._moments = [float((eigenvalues**power).sum()) for power in (1, 2, 3)]
        blocks = [block for block in np.array_split(features, BLOCKS) if len(block)]
        over = [self._distance(block) / self._chance(len(block)) for block in blocks]
        self._wander = min(max(over), MOST_WANDER)
        self.statistic = 0.0
        self.threshold = self._chance(_ENOUGH)

    @property
    def expected_run_time(self) -> float:
        """How many steady windows pass on average until one is taken for a shift."""
        return 1.0 / self._alpha

    @property
    def drift_detected(self) -> bool:
        """Whether the latest window lies further off than its threshold."""
        return self.statistic >= self.threshold

    def update(self, vectors: Floats) -> None:
        """Take the next window; `statistic` and `threshold` are those of this one."""
        self.statistic = self._distance(self._fourier.of(vectors))
        self.threshold = self._chance(len(vectors)) * max(1.0, WANDER * self._wander)

    def _distance(self, features: Floats) -> float:
        off = features.mean(axis=0) - self._mean
        return float(off @ off)

    def _chance(self, size: int) -> float:
        """Return the MMD² that a steady window of a size exceeds with probability `alpha`."""
        first, second, third = self._moments
        if second <= 0.0:
            return float("inf")  # a constant reference says nothing of chance
        degrees = second**3 / third**2
        deviation = (2.0 * second) ** 0.5
        bound = float(chi_squared_bound(np.array([max(1.0, degrees)]), self._alpha)[0])
        weighted: float = first + deviation * (bound - degrees) / (2.0 * degrees) ** 0.5
        return weighted * (1.0 / min(size, _ENOUGH) + 1.0 / self._size)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return {
            "alpha": self._alpha,
            "fourier": self._fourier.snapshot(),
            "mean": self._mean.tolist(),
            "size": self._size,
            "moments": self._moments,
            "wander": self._wander,
            "latest": [self.statistic, self.threshold],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot, whatever this detector was made for."""
        self._alpha = state["alpha"]
        self._fourier = FourierFeatures.restored(state["fourier"])
        self._mean = np.asarray(state["mean"], dtype=np.float64)
        self._size = state["size"]
        self._moments = list(state["moments"])
        self._wander = state["wander"]
        self.statistic, self.threshold = state["latest"]

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Make a detector from a snapshot, without its reference."""
        made = cls.__new__(cls)
        made.restore(state)
        return made


def _means(vectors: Floats) -> Floats:
    """Return each dimension's mean over what is known, `(D,)`."""
    known = np.count_nonzero(~np.isnan(vectors), axis=0)
    means: Floats = np.nansum(vectors, axis=0) / np.maximum(1, known)
    return means
