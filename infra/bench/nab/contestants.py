"""The detectors that NAB is run with: consume a series' readings, produce an anomaly score for each.

Ours and simple peers, each with one setting for all series. All are strictly online: a score is given before
a later reading is seen. None is told the series' length, its extremes or its labels.
"""

from collections.abc import Callable, Sequence
from math import erfc, sqrt
from typing import Any, Final

import numpy as np
from river import anomaly, preprocessing, proba, utils

from infra.bench.nab.scoring import Floats
from streams.detectors.novelty import Novelty

Contestant = Callable[[Sequence[float]], Floats]
"""Readings (rows) in, scores in [0, 1] (rows) out."""

OURS: Final = "novelty"
_SEED: Final = 42
_GAUSSIAN_WINDOW: Final = 6400
_LEAST_SIGMA: Final = 1e-6


def novelty(values: Sequence[float]) -> Floats:
    """Ours: nearest-neighbour distances of five aspects."""
    detector = Novelty()
    scores = np.empty(len(values))
    for row, value in enumerate(values):
        detector.update(value)
        scores[row] = detector.score
    return scores


def half_space_trees(values: Sequence[float]) -> Floats:
    """Half-space trees of river (S. C. Tan, K. M. Ting, T. F. Liu, IJCAI 2011), its defaults."""
    scaler: Any = preprocessing.MinMaxScaler  # river does not type it
    model = scaler() | anomaly.HalfSpaceTrees(seed=_SEED)
    scores = np.empty(len(values))
    for row, value in enumerate(values):
        reading = {"value": value}
        scores[row] = model.score_one(reading)
        model.learn_one(reading)
    return scores


def windowed_gaussian(values: Sequence[float]) -> Floats:
    """1 - Q(|z|) under a normal distribution of the newest 6,400 readings, NAB's own peer and window."""
    normal: Any = proba.Gaussian  # river does not type it
    known: Any = utils.Rolling(normal(), window_size=_GAUSSIAN_WINDOW)
    scores = np.empty(len(values))
    for row, value in enumerate(values):
        deviation = abs(value - known.mu) / max(known.sigma, _LEAST_SIGMA)
        scores[row] = 1.0 - 0.5 * erfc(deviation / sqrt(2.0)) if row else 0.0
        known.update(value)
    return scores


def chance(values: Sequence[float]) -> Floats:
    """Draw uniformly: what the choice of the threshold alone is worth."""
    return np.random.default_rng(_SEED).random(len(values))


def null(values: Sequence[float]) -> Floats:
    """One score for all: the zero of the scale."""
    return np.full(len(values), 0.5)


CONTESTANTS: Final[dict[str, Contestant]] = {
    OURS: novelty,
    "half_space_trees": half_space_trees,
    "windowed_gaussian": windowed_gaussian,
    "random": chance,
    "null": null,
}
