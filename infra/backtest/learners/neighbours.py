"""Nearest neighbours among the newest labels: consumes readings, produces the vote of those most alike.

It has learnt a label as soon as that came, which is why it is the first to know a new concept or class (V.
Losing et al., "KNN classifier with self adjusting memory for heterogeneous concept drift", IEEE ICDM 2016).
"""

from typing import Final

import numpy as np

from infra.backtest.learners.protocol import Seen, Shares
from infra.backtest.learners.vectors import Floats, Vectors

_NEIGHBOURS: Final = 5
_RESCALED_EVERY: Final = 50


class Neighbours:
    """The newest `window` labelled rows, in standard deviations of their own. Memory: those rows."""

    def __init__(self, window: int = 1000) -> None:
        self._vectors = Vectors(window)
        self._scale: Floats = np.ones(0, np.float32)
        self._learnt = 0

    def shares(self, seen: Seen) -> Shares:
        if not self._learnt:
            return {}
        rows = self._vectors.rows
        x = self._vectors.read(seen.values, grow=False)
        distance = (np.abs(rows - x) / self._scale).sum(1)
        k = min(_NEIGHBOURS, len(rows))
        nearest = np.argpartition(distance, k - 1)[:k]
        weights = 1.0 / (distance[nearest] + 0.1 * distance[nearest].max() + 1e-9)
        found = dict.fromkeys(self._vectors.classes, 0.1 * float(weights.min()))
        for at, weight in zip(nearest, weights, strict=True):
            found[self._vectors.label(int(at))] += float(weight)
        total = sum(found.values())
        return {label: share / total for label, share in found.items()}

    def learn(self, seen: Seen, label: str) -> None:
        self._vectors.add(seen.values, label)
        self._learnt += 1
        if (
            self._learnt % _RESCALED_EVERY == 0
            or len(self._scale) != self._vectors.width
            or self._learnt < 50
        ):
            spread = np.nan_to_num(np.nanstd(self._vectors.rows, axis=0))
            self._scale = np.where(spread > 0, spread, 1.0)
