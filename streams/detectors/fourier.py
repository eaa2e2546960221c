"""Random Fourier features of a Gaussian kernel: consumes vectors, produces features whose products are it.

A. Rahimi, B. Recht, "Random features for large-scale kernel machines", NIPS 2007. The kernel's width is the
median distance of two vectors of the reference (A. Gretton et al., JMLR 13, 2012, section 8).
"""

from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
FEATURES: Final = 256
_MEDIAN_OF: Final = 500


class FourierFeatures:
    """The map from vectors `(n, D)`, standardised by the reference's, to features `(n, 256)`."""

    def __init__(self, reference: Floats, rng: np.random.Generator) -> None:
        self._centre = reference.mean(axis=0)
        self._scale = np.where((spread := reference.std(axis=0)) > 0, spread, 1.0)
        scaled = (reference - self._centre) / self._scale
        width = scaled.shape[1]
        self._directions = rng.normal(size=(width, FEATURES)) / _median_distance(scaled, rng)
        self._phases = rng.uniform(0.0, 2.0 * np.pi, FEATURES)

    def of(self, vectors: Floats) -> Floats:
        """Return the features of vectors; what is missing (NaN) is taken to be the reference's mean."""
        scaled = np.nan_to_num((vectors - self._centre) / self._scale)
        features: Floats = np.cos(scaled @ self._directions + self._phases) * np.sqrt(2.0 / FEATURES)
        return features

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return {
            name: getattr(self, f"_{name}").tolist() for name in ("centre", "scale", "directions", "phases")
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Make the map of a snapshot."""
        made = cls.__new__(cls)
        for name, values in state.items():
            setattr(made, f"_{name}", np.asarray(values, dtype=np.float64))
        return made


def _median_distance(vectors: Floats, rng: np.random.Generator) -> float:
    """Return the median distance of two vectors: the kernel's width (Gretton's heuristic)."""
    some = vectors[rng.permutation(len(vectors))[:_MEDIAN_OF]]
    squares = (some**2).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2.0 * some @ some.T, 0.0))
    found = float(np.median(distances[np.triu_indices(len(some), 1)]))
    return found if found > 0 else 1.0
