"""Varies readings: consumes the rows of one class, produces variants of them within the class's spread.

Jitter adds noise of a twentieth of each feature's spread, scaling multiplies a row's distance from the
class's centre (T. T. Um et al., "Data augmentation of wearable sensor data for Parkinson's disease
monitoring using convolutional neural networks", ICMI 2017). No variant leaves the range that the class was
seen in, and a reading that is missing stays missing.
"""

import random
from collections.abc import Sequence
from typing import Final

import numpy as np

_JITTER: Final = 0.05
_SCALING: Final = 0.1


class Readings:
    """The centre, spread and range of one class's features."""

    def __init__(self, rows: Sequence[dict[str, float]]) -> None:
        names = sorted({name for row in rows for name in row})
        columns = {name: np.array([row[name] for row in rows if name in row]) for name in names}
        self._centre = {name: float(np.median(column)) for name, column in columns.items()}
        self._spread = {name: float(np.std(column)) for name, column in columns.items()}
        self._range = {name: (float(column.min()), float(column.max())) for name, column in columns.items()}

    def vary(self, values: dict[str, float], chance: random.Random) -> dict[str, float]:
        """Return a variant of one row's readings."""
        scale = chance.gauss(1.0, _SCALING)
        varied = {}
        for name, value in values.items():
            centre, (low, high) = self._centre[name], self._range[name]
            moved = centre + scale * (value - centre) + chance.gauss(0.0, _JITTER) * self._spread[name]
            varied[name] = min(high, max(low, moved))
        return varied
