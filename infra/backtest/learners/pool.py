"""Several learners as one: consumes their probabilities, produces those of a logarithmic opinion pool.

    p(c) ∝ Π_k p_k(c) ^ w_k

C. Genest, J. V. Zidek, "Combining probability distributions", Statistical Science 1, 1986. The weights are
learnt from every label by the gradient of its log-likelihood (J. Duchi et al., "Adaptive subgradient
methods", JMLR 12, 2011), on answers that were given before the label came.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from infra.backtest.learners.protocol import Learner, Seen, Shares

Floats = NDArray[np.float64]

_FLOOR: Final = 1e-3
_FIRST: Final = 0.5
_RATE: Final = 0.1
_MOST: Final = 4.0


class Pool:
    """The members all learn every label. Memory: theirs, and a weight each."""

    def __init__(self, members: Sequence[Learner]) -> None:
        self._members = list(members)
        self._weights = np.full(len(self._members), _FIRST)
        self._squares = np.full(len(self._members), 0.1)
        self._answered: tuple[Seen, list[str], Floats] | None = None

    def shares(self, seen: Seen) -> Shares:
        classes, logs = self._logs(seen)
        self._answered = (seen, classes, logs)
        if not classes:
            return {}
        return dict(zip(classes, _softmax(logs @ self._weights).tolist(), strict=True))

    def learn(self, seen: Seen, label: str) -> None:
        answered = self._answered
        if answered is None or answered[0] is not seen:  # the label came late: what would be answered now?
            answered = (seen, *self._logs(seen))
        _, classes, logs = answered
        if label in classes:
            gradient = logs[classes.index(label)] - _softmax(logs @ self._weights) @ logs
            self._squares += gradient**2
            step = _RATE * gradient / np.sqrt(self._squares)
            self._weights = np.clip(self._weights + step, 0.0, _MOST)
        for member in self._members:
            member.learn(seen, label)
        self._answered = None

    @property
    def weights(self) -> list[float]:
        """Return how much each member counts."""
        return [float(weight) for weight in self._weights]

    def _logs(self, seen: Seen) -> tuple[list[str], Floats]:
        """Return the labels and the members' log probabilities, (C, K); a member without any is neutral."""
        found = [member.shares(seen) for member in self._members]
        classes = list(dict.fromkeys(label for shares in found for label in shares))
        logs = np.zeros((len(classes), len(found)))
        for k, shares in enumerate(found):
            if shares:
                logs[:, k] = [np.log(max(shares.get(label, 0.0), _FLOOR)) for label in classes]
        return classes, logs


def _softmax(scores: Floats) -> Floats:
    odds = np.exp(scores - scores.max())
    return np.asarray(odds / odds.sum())
