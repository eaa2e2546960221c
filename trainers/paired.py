"""Paired tests of two models: consume both models' answers to the same rows, produce p-values.

Only rows on which the two differ tell one from the other. Right and wrong answers are compared exactly
(McNemar 1947) and against a margin (Tango 1998); losses, as of a regression, by a paired bootstrap (Efron and
Tibshirani 1993, chapter 16).
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Truths = NDArray[np.bool_]
Losses = NDArray[np.float64]

_RESAMPLES: Final = 2000
_AT_ONCE: Final = 100


@dataclass(frozen=True)
class Paired:
    """For each row of one set, whether each model was right; `champion` is None before the first release."""

    candidate: Truths
    champion: Truths | None = None

    @property
    def accuracy(self) -> float:
        """Return the candidate's share of right answers, 0 for no rows."""
        return float(self.candidate.mean()) if len(self.candidate) else 0.0

    @property
    def champion_accuracy(self) -> float:
        """Return the champion's share of right answers, 0 without a champion or rows."""
        return float(self.champion.mean()) if self.champion is not None and len(self.champion) else 0.0

    @property
    def gain(self) -> float:
        """Return how much more of the rows the candidate answers rightly."""
        return (self.better - self.worse) / max(1, len(self.candidate))

    @property
    def better(self) -> int:
        """Return on how many rows the candidate alone is right."""
        return 0 if self.champion is None else int(np.sum(self.candidate & ~self.champion))

    @property
    def worse(self) -> int:
        """Return on how many rows the champion alone is right."""
        return 0 if self.champion is None else int(np.sum(~self.candidate & self.champion))

    def turned(self) -> "Paired":
        """Return the same rows with the models in each other's place."""
        if self.champion is None:
            raise ValueError("there is no champion to take the candidate's place")
        return Paired(self.champion, self.candidate)


@dataclass(frozen=True)
class PairedLosses:
    """For each row of one set, (N,), what each model's answer lost: absolute or squared error, log loss."""

    candidate: Losses
    champion: Losses

    @property
    def gain(self) -> float:
        """Return by what part of the champion's mean loss the candidate's is smaller."""
        before = float(self.champion.mean())
        return 1.0 - float(self.candidate.mean()) / before if before > 0 else -float(self.candidate.mean())


def mcnemar(pair: Paired) -> float:
    """Return the one-sided exact p-value of "the candidate is no better than the champion" on paired answers.

    Only rows on which exactly one of the two is right count; without any, 1.0.
    """
    differing = pair.better + pair.worse
    at_least = sum(math.comb(differing, wins) for wins in range(pair.better, differing + 1))
    return float(at_least / 2**differing)


def tango(pair: Paired, margin: float) -> float:
    """Return the one-sided p-value of "the candidate is worse than the champion by `margin` or more".

    Tango's score test, with b rows won and c lost of n: z = (b - c + n·m) / √(n·(2q - m·(1 + m))) for the
    margin m and the likeliest share q of lost rows if the candidate were worse by exactly m. Unlike Wald's
    test it does not take a few rows without a loss for certainty.
    """
    rows, won, lost = len(pair.candidate), pair.better, pair.worse
    if pair.champion is None or not rows:
        return 1.0
    if margin >= 1:
        return 0.0
    square = 2.0 * rows
    linear = -won - lost - (2 * rows - won + lost) * margin
    constant = lost * margin * (1 + margin)
    share = (math.sqrt(max(0.0, linear**2 - 4 * square * constant)) - linear) / (2 * square)
    variance = rows * (2 * share - margin * (1 + margin))
    lead = won - lost + rows * margin
    if variance <= 0:
        return 0.0 if lead > 0 else 1.0
    return 0.5 * math.erfc(lead / math.sqrt(2 * variance))


def bootstrap(pair: PairedLosses, margin: float = 0.0, seed: int = 11) -> float:
    """Return the one-sided p-value of "the candidate's mean loss is not below (1 + margin) champion's".

    Rows are drawn again with both models' losses, 2,000 times; the p-value is the share of draws in which the
    candidate does not do it, the sample itself counted with them, so that it is never 0.
    """
    rows = len(pair.candidate)
    if not rows:
        return 1.0
    chance = np.random.default_rng(seed)
    lead = (1.0 + margin) * pair.champion - pair.candidate
    failed = 0
    for _ in range(_RESAMPLES // _AT_ONCE):
        drawn = chance.integers(0, rows, size=(_AT_ONCE, rows))
        failed += int(np.sum(lead[drawn].mean(1) <= 0))
    return (failed + 1) / (_RESAMPLES + 1)
