"""Change of a joint distribution: consumes vectors one by one, says when a window left the reference.

The maximum mean discrepancy between a reference and the newest `window` vectors (A. Gretton et al., "A kernel
two-sample test", JMLR 13, 2012), with random Fourier features of a Gaussian kernel, so that the reference is
one mean vector whatever its size. Thresholds are configured for an expected
run time: without a change an alarm comes after so many vectors on average, at every step with the same
probability whatever the steps before showed (O. Cobb, A. Van Looveren, J. Klaise, "Sequential multivariate
change detection with calibrated and memoryless false detection rates", AISTATS 2022). So the first windows,
which overlap with none before, have thresholds of their own.
"""

from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from streams.detectors.fourier import FEATURES, FourierFeatures

Floats = npt.NDArray[np.float64]
BOOTSTRAPS: Final = 20_000
_AT_ONCE: Final = 500


class Mmd:
    """Watches vectors (D,) for a change against `reference` (N, D).

    N must be at least twice what the bootstrap sets aside, 4 · `window`. Memory: two vectors of features, the
    window's features and 2 · `window` thresholds. The same seed gives the same detector.

    Raises:
        ValueError: too few vectors in the reference.

    Example:
        >>> rng = np.random.default_rng(1)
        >>> detector = Mmd(rng.normal(size=(500, 3)), expected_run_time=500, window=10)
        >>> detector.update(rng.normal(size=3))
        >>> detector.drift_detected
        False
    """

    def __init__(
        self,
        reference: Floats,
        *,
        expected_run_time: int = 10_000,
        window: int = 20,
        bootstraps: int = BOOTSTRAPS,
        seed: int = 7,
    ) -> None:
        if len(reference) < 4 * window:
            raise ValueError(f"{len(reference)} vectors; a window of {window} needs {4 * window} at least")
        rng = np.random.default_rng(seed)
        self._window = window
        self._fourier = FourierFeatures(reference, rng)
        features = self._fourier.of(reference)
        self._mean = features.mean(axis=0)
        self._thresholds = _thresholds(features, window, 1.0 / expected_run_time, bootstraps, rng)
        self._start()

    def _start(self) -> None:
        self._ring = np.zeros((self._window, FEATURES))
        self._sum = np.zeros(FEATURES)
        self._seen = 0
        self._detected = False
        self.statistic = 0.0

    @property
    def drift_detected(self) -> bool:
        """Whether the latest window lies further from the reference than its threshold."""
        return self._detected

    @property
    def threshold(self) -> float:
        """The threshold of the latest window; infinite while the first one fills."""
        full = self._seen - self._window
        return float("inf") if full < 0 else float(self._thresholds[min(full, len(self._thresholds) - 1)])

    def update(self, vector: Floats) -> None:
        """Take the next vector; after a detection the window begins anew."""
        if self._detected:
            self._start()
        new = self._fourier.of(vector[np.newaxis, :])[0]
        at = self._seen % self._window
        self._sum += new - self._ring[at]
        self._ring[at] = new
        self._seen += 1
        if self._seen < self._window:
            return
        distance = self._sum / self._window - self._mean
        self.statistic = float(distance @ distance)
        self._detected = self.statistic > self.threshold

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return {
            "window": self._window,
            "fourier": self._fourier.snapshot(),
            "mean": self._mean.tolist(),
            "thresholds": self._thresholds.tolist(),
            "ring": self._ring.tolist(),
            "seen": self._seen,
            "detected": self._detected,
            "statistic": self.statistic,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot, whatever this detector was made for."""
        self._window = state["window"]
        self._fourier = FourierFeatures.restored(state["fourier"])
        for name in ("mean", "thresholds", "ring"):
            setattr(self, f"_{name}", np.asarray(state[name], dtype=np.float64))
        self._sum = self._ring.sum(axis=0)
        self._seen = state["seen"]
        self._detected = state["detected"]
        self.statistic = state["statistic"]

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Return a detector that goes on from a snapshot, without its reference."""
        detector = cls.__new__(cls)
        detector.restore(state)
        return detector


def _thresholds(
    features: Floats, window: int, rate: float, bootstraps: int, rng: np.random.Generator
) -> Floats:
    """Return the thresholds of the first 2 · `window` windows, the last of which holds for all that follow.

    Streams that are drawn from the reference itself, apart from what they are compared with, are run through
    the detector; at each step the threshold is the one that a share `rate` of those exceeds which are left.
    """
    length = min(3 * window - 1, len(features) // 2)
    statistics = np.concatenate(
        [
            _statistics(features, window, length, min(_AT_ONCE, bootstraps - begun), rng)
            for begun in range(0, bootstraps, _AT_ONCE)
        ]
    )
    found = np.empty(statistics.shape[1])
    left = statistics
    for step in range(len(found)):
        found[step] = np.quantile(left[:, step], 1.0 - rate)
        left = left[left[:, step] <= found[step]]
    return found


def _statistics(features: Floats, window: int, length: int, count: int, rng: np.random.Generator) -> Floats:
    """Return the statistics (count, length − window + 1) of streams drawn from the reference."""
    rows = len(features)
    drawn = np.argpartition(rng.random((count, rows)), length, axis=1)[:, :length]
    drawn = rng.permuted(drawn, axis=1)
    streams = features[drawn]  # (count, length, F)
    rest = (features.sum(axis=0) - streams.sum(axis=1)) / (rows - length)
    sums = np.cumsum(streams, axis=1)
    sums[:, window:] -= sums[:, :-window].copy()
    distance = sums[:, window - 1 :] / window - rest[:, np.newaxis, :]
    statistics: Floats = np.einsum("ntf,ntf->nt", distance, distance)
    return statistics
