"""KSWIN over errors or scores: the newest values against a sample of older ones, by Kolmogorov and Smirnov.

C. Raab, M. Heusinger, F.-M. Schleif, "Reactive soft prototype computing for concept drift streams",
Neurocomputing 416, 2020. Both samples have one size m, so the test's p-value is a function of the distance
k/m alone (B. V. Gnedenko, V. S. Korolyuk, 1951), P(D ≥ k/m) = 2·Σ_j (−1)^(j+1)·C(2m, m − jk) / C(2m, m), and
the smallest significant k is worked out once. Which older values are compared follows from the number of
values since the start: a sample is drawn as the paper's, and a replay draws the same.
"""

from collections.abc import Callable, Sequence
from math import comb
from typing import Any, Final

import numpy as np

_LEAST_DISTANCE: Final = 0.1
_SAMPLES: Final = 256

Choice = Callable[[int], Sequence[int]]
"""Which of the older values are compared: for a number of tests so far, their positions, oldest is 0."""


class Kswin:
    """Detects a change of a distribution, or an increase alone (`rises_only`), with confidence `1 - alpha`.

    Memory: `window` values. Values are bits or scores.
    """

    def __init__(
        self,
        alpha: float = 0.005,
        window: int = 100,
        newest: int = 30,
        *,
        rises_only: bool = False,
        choose: Choice | None = None,
    ) -> None:
        self._window = window
        self._newest = newest
        self._rises_only = rises_only
        self._critical = critical(newest, alpha)
        self._choose = choose or _choices(window - newest, newest)
        self._start([])

    def _start(self, values: list[float]) -> None:
        self._values = values
        self._tests = 0
        self._detected = False

    @property
    def drift_detected(self) -> bool:
        return self._detected

    def update(self, error: float) -> None:
        """Take the next error bit or score."""
        if self._detected:
            self._start([])
        values = self._values
        values.append(error)
        if len(values) < self._window:
            return
        if len(values) > self._window:
            del values[0]
        older = [values[at] for at in self._choose(self._tests)]
        self._tests += 1
        self._detected = self._distance(older, values[-self._newest :]) >= self._critical

    def _distance(self, older: list[float], newer: list[float]) -> int:
        """Return the largest difference of the two counts of values up to some value."""
        if set(newer) | set(older) <= {0.0, 1.0}:
            rise = round(sum(newer) - sum(older))
            return rise if self._rises_only else abs(rise)
        values = np.array(older + newer)
        order = np.argsort(values, kind="stable")
        steps = np.where(order < self._newest, 1, -1).cumsum()
        ends = np.append(np.diff(values[order]) != 0.0, True)  # where no equal value follows
        rises = steps[ends]
        return int(rises.max() if self._rises_only else np.abs(rises).max())

    def snapshot(self) -> dict[str, Any]:
        return {"values": list(self._values), "tests": self._tests, "detected": self._detected}

    def restore(self, state: dict[str, Any]) -> None:
        self._values = list(state["values"])
        self._tests = state["tests"]
        self._detected = state["detected"]


def critical(size: int, alpha: float) -> int:
    """Return the smallest k for which two samples of `size` lie k/size apart with probability ≤ `alpha`.

    >>> critical(30, 0.005)
    14
    """
    for k in range(int(_LEAST_DISTANCE * size) + 1, size + 1):
        terms = ((-1) ** (j + 1) * comb(2 * size, size - j * k) for j in range(1, size // k + 1))
        if 2 * sum(terms) <= alpha * comb(2 * size, size):
            return k
    return size + 1


def _choices(older: int, size: int) -> Choice:
    """Draw samples of `size` of `older` positions, without repetition, once for all."""
    random = np.random.default_rng(0)
    drawn = [random.permutation(older)[:size].tolist() for _ in range(_SAMPLES)]
    return lambda tests: drawn[tests % _SAMPLES]
