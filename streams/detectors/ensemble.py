"""The default over error bits: a likelihood-ratio test per possible moment of change, their evidence summed.

For each change point k that an exponential histogram keeps (ADWIN's; O(log n) of them), the bits before k and
the bits from k on are compared by the generalised likelihood ratio of two Bernoulli rates to one; the rate
before is unknown too, and its uncertainty is in the ratio:

    L_k = n0·KL(p0 ‖ p) + n1·KL(p1 ‖ p)

(D. Siegmund, E. S. Venkatraman, "Using the generalized likelihood ratio statistic for sequential detection of
a change-point", Annals of Statistics 23, 1995; L. Besson et al., "Efficient change-point detection for
tackling piecewise-stationary bandits", JMLR 23, 2022). A mixture over the rise θ, a difference of log odds,
weighs each ratio. By Laplace's approximation, with θ and its variance v from counts increased by ½
(F. J. Anscombe, "On estimating binomial response relations", Biometrika 43, 1956):

    M_k = √(2πv) · π(θ) · exp(L_k),   π(θ) = θ·max(exp(−θ²/2), .03),   0 where the odds rise by less than 15 %

and the evidence is their sum over all change points, as of Shiryaev and Roberts: R = Σ_k width_k · M_k
(A. N. Shiryaev, "On optimum methods in quickest detection problems", 1963; S. W. Roberts, "A comparison of
some control chart procedures", Technometrics 8, 1966; of mixtures, M. Pollak, "Average run lengths of an
optimal method of detecting a change in distribution", Annals of Statistics 15, 1987, and J. Shin, A. Ramdas,
A. Rinaldo, "E-detectors", 2022). Were the rate before known and the mixture exact, E[R] would grow by one a
label while nothing changes, so an alarm at R ≥ A would come no more often than every A labels on average.
Neither is the case, and what remains of that promise is measured in `infra/docs/detectors.md`. Of the first
10,000 labels A is the smaller part √(n / 10,000), not less than for n = 500: few labels tell the rate before
badly, which costs delay and not alarms. After a detection A is 20 times as large instead, until 5,000 labels
came without a fall: a model that has just begun anew errs unsteadily, as trees do at their first splits.

A rate that fell makes what was before the fall useless to compare with. Every 16 labels the same ratio is
looked at downwards; where it passes almost the alarm's threshold, what was before its best cut is forgotten,
silently. A model that learns anew is compared with what it has reached.
"""

from collections.abc import Sequence
from math import log
from typing import Any, Final

from headrace_native import RiseDetector

_LABELS: Final = 4000
"""Labels between two false alarms, times delta."""
_FALL_BELOW: Final = 1.0


class Ensemble:
    """Detects an increase of the error rate; while it is steady, an alarm in some `4000 / delta` labels.

    Memory: 8 numbers per doubling of the labels since the newest fall or alarm.
    """

    def __init__(self, delta: float = 0.001) -> None:
        threshold = log(_LABELS / delta)
        self._tests = RiseDetector(threshold, threshold - _FALL_BELOW)

    @property
    def drift_detected(self) -> bool:
        return self._tests.drift_detected

    @property
    def width(self) -> int:
        """Labels that are compared: all since the newest fall or alarm."""
        return self._tests.seen[0]

    @property
    def rate(self) -> float:
        """Error rate of these labels."""
        count, errors = self._tests.seen
        return errors / count if count else 0.0

    def update(self, error: bool) -> None:  # noqa: FBT001  # the detector's one input
        self._tests.update(error)

    def update_many(self, errors: Sequence[bool] | bytes) -> int | None:
        """Take labelled predictions up to the first detection; return its index, None if there is none.

        What comes after the index is not taken: it is the new concept's, and the caller may first want to
        act. `bytes` are taken as they are, one label a byte.
        """
        return self._tests.update_many(errors if isinstance(errors, bytes) else bytes(errors))

    def snapshot(self) -> dict[str, Any]:
        return {
            "levels": self._tests.levels,
            "detected": self._tests.drift_detected,
            "unsettled": self._tests.unsettled,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._tests.restore(state["levels"], state["detected"], state["unsettled"])
