"""What every test of a distribution has in common: consumes windows, says which features have moved.

A feature has moved when its distance from the reference reaches the largest of three: an effect that matters
(`threshold`); what chance exceeds with probability `alpha`, shared among all features and all tests that are
asked of a window (C. E. Bonferroni, 1936), so that small windows and many features do not cry; and 1.5 times
what the reference's own consecutive blocks differed from it, so that a stream that always wanders may.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import sqrt
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
from scipy.special import gammainccinv

from streams.detectors.reference import Reference, Window

Floats = npt.NDArray[np.float64]
ALPHA: Final = 1e-4
"""Chance that a steady window passes any bound of chance."""
BLOCKS: Final = 6
WANDER: Final = 1.5
"""So many times further than the reference's own blocks lies what has moved."""
MOST_WANDER: Final = 4.0
"""What blocks are taken to have wandered at most, in thresholds: a reference that drifted is not blind."""


class WindowTest(ABC):
    """Compares windows with a reference, feature by feature.

    Args:
        reference: the sketch of what was normal.
        blocks: consecutive parts of the reference, which say how far a steady stream wanders.
        threshold: the least distance that matters; the test's own by default.
        alpha: chance that one feature of a steady window passes the bound of chance.
    """

    name: ClassVar[str]
    matters: ClassVar[float]
    """The distance that half a standard deviation makes, or a bit more: Cohen's "medium effect"."""

    def __init__(
        self,
        reference: Reference,
        blocks: Sequence[Window],
        *,
        threshold: float | None = None,
        alpha: float = ALPHA,
    ) -> None:
        self.reference = reference
        self.least = self.matters if threshold is None else threshold
        self.alpha = alpha
        found = [self.distances(block) for block in blocks]
        worst = np.max(np.nan_to_num(found), axis=0) if found else np.zeros(len(reference.names))
        self._wander = np.minimum(worst, MOST_WANDER * self.least)
        self._forget()

    def _forget(self) -> None:
        self.statistics = np.zeros(len(self.reference.names))
        self.thresholds = np.full(len(self.reference.names), self.least)

    @abstractmethod
    def distances(self, window: Window) -> Floats:
        """Return how far each feature lies from the reference, `(F,)`; NaN where that cannot be said."""

    @abstractmethod
    def chance(self, window: Window, alpha: float) -> Floats:
        """Return the distance that steady features exceed with probability `alpha`, `(F,)`."""

    def update(self, window: Window) -> None:
        """Take the next window; `statistics` and `thresholds` are those of this one."""
        self.statistics = np.nan_to_num(self.distances(window))
        by_chance = np.nan_to_num(self.chance(window, self.alpha))
        self.thresholds = np.maximum(np.maximum(self.least, by_chance), WANDER * self._wander)

    @property
    def moved(self) -> list[int]:
        """The features that have moved, furthest over their threshold first."""
        over = self.statistics / self.thresholds
        return [int(f) for f in np.argsort(-over) if over[f] >= 1.0]

    @property
    def drift_detected(self) -> bool:
        """Whether any feature of the latest window has moved."""
        return bool(np.any(self.statistics >= self.thresholds))

    def matter_from(self, least: float) -> None:
        """Go on with another least distance that matters, from the next window on."""
        self.least = least

    def snapshot(self) -> dict[str, Any]:
        """Return what is remembered beside the reference, as plain JSON values."""
        return {
            "wander": self._wander.tolist(),
            "statistics": self.statistics.tolist(),
            "thresholds": self.thresholds.tolist(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot of a test of the same reference."""
        for name in ("statistics", "thresholds"):
            setattr(self, name, np.asarray(state[name], float))
        self._wander = np.asarray(state["wander"], float)


def sizes(window: Window, reference: Reference) -> tuple[Floats, Floats, Floats]:
    """Return per feature how many readings the window and the reference have, and the bins in use, `(F,)`."""
    used = np.count_nonzero(reference.counts + window.counts, axis=1)
    read = np.maximum(1.0, window.counts.sum(axis=1)), np.maximum(1.0, reference.counts.sum(axis=1))
    return *read, used.astype(float)


def shares(window: Window, reference: Reference, smoothing: float = 0.0) -> tuple[Floats, Floats]:
    """Return the shares of the bins in the reference and in the window, `(F, B)`; 0 in bins empty in both."""
    used = (reference.counts + window.counts) > 0
    p = np.where(used, reference.counts + smoothing, 0.0)
    q = np.where(used, window.counts + smoothing, 0.0)
    return p / np.maximum(1e-12, p.sum(axis=1, keepdims=True)), q / np.maximum(
        1e-12, q.sum(axis=1, keepdims=True)
    )


def chi_squared_bound(degrees: Floats, alpha: float) -> Floats:
    """Return what a χ² variable with so many degrees of freedom exceeds with probability `alpha`."""
    bound: Floats = np.where(degrees < 1.0, 0.0, 2.0 * gammainccinv(np.maximum(1.0, degrees) / 2.0, alpha))
    return bound


def smirnov_bound(window: Floats, reference: Floats, alpha: float) -> Floats:
    """Return the distance of two distribution functions that chance exceeds with probability `alpha`.

    N. Smirnov's asymptotic law ("Table for estimating the goodness of fit", Ann. Math. Stat. 19, 1948).
    """
    bound: Floats = sqrt(-0.5 * np.log(alpha / 2.0)) * np.sqrt(1.0 / window + 1.0 / reference)
    return bound
