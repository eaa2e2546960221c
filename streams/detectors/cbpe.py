"""Estimated accuracy without labels: consumes the scores of answers, produces the share that is likely right.

Confidence-based performance estimation: if scores are calibrated, their mean is the expected accuracy
(Guillory et al., "Predicting with Confidence on Unseen Distributions", ICCV 2021; NannyML's CBPE). Scores
seldom are, so they are calibrated by histogram binning (Zadrozny, Elkan, "Obtaining calibrated probability
estimates", ICML 2001) on answers whose truth is known. It sees what moves the model towards answers that it
is known to get wrong; it cannot see that the meaning of an input changed while scores did not: that takes
labels.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
BINS: Final = 20
_PRIOR: Final = 4.0
"""So many answers at the bin's own score are taken for seen: a bin without labels believes the score."""


class Cbpe:
    """Calibration of one model's scores, 0 to 1. Memory: two numbers a bin."""

    def __init__(self) -> None:
        self._answers = np.zeros(BINS)
        self._right = np.zeros(BINS)
        self.labels = 0
        """How many judged answers it was calibrated with."""

    def learn(self, score: float, right: bool) -> None:  # noqa: FBT001  # an answer's score and its outcome
        """Take an answer whose truth is known."""
        at = _bin(score)
        self._answers[at] += 1
        self._right[at] += right
        self.labels += 1

    def calibrated(self, scores: Sequence[float]) -> Floats:
        """Return for each score (N,) the probability that an answer with it is right (N,)."""
        middle = (np.arange(BINS) + 0.5) / BINS
        likely = (self._right + _PRIOR * middle) / (self._answers + _PRIOR)
        at = np.clip((np.asarray(scores) * BINS).astype(np.int64), 0, BINS - 1)
        taken: Floats = likely[at]
        return taken

    def estimate(self, scores: Sequence[float]) -> tuple[float, float]:
        """Return the estimated accuracy of answers with these scores, and its standard error."""
        likely = self.calibrated(scores)
        return float(likely.mean()), float(likely.std() / sqrt(len(likely)))

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {"answers": self._answers.tolist(), "right": self._right.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self._answers = np.asarray(state["answers"], dtype=np.float64)
        self._right = np.asarray(state["right"], dtype=np.float64)
        self.labels = int(self._answers.sum())


def _bin(score: float) -> int:
    return min(max(int(score * BINS), 0), BINS - 1)
