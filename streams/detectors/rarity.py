"""How rare a number is among those before it: consumes numbers, produces minus log10 of a probability.

Two steps. The distance of a number to its nearest neighbour among the earlier ones says how new it is,
without any model of their distribution (several bands, a heavy tail, whole numbers: all the same). How rare
such a distance is, its own past says: above a high quantile, distances are taken for exponential
(J. Pickands, "Statistical inference using extreme order statistics", Annals of Statistics 3, 1975). As their
mean is known from few of them, the predictive distribution is that of K. S. Lomax (JASA 49, 1954): after k
excesses of sum S, P(X > x) = (1 + x/S)^-k.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections import deque
from math import dist, log10
from typing import Any, Final

_TAIL: Final = 0.02
"""The share of distances that the tail is fitted to."""
_LEAST_DISTANCES: Final = 30
"""Distances known before any is called rare."""
_LEAST_KNOWN: Final = 10
"""Numbers, or shapes, known before a distance to them is taken."""
_BLUR: Final = 1e-3
"""Differences of distances below this share of the largest say nothing about a tail."""


class SortedWindow:
    """The newest `size` numbers, in the order of their values. Memory: 16 bytes a number."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ring = array("d")
        self._oldest = 0
        self._sorted = array("d")

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, value: float) -> None:
        if len(self._ring) < self._size:
            self._ring.append(value)
        else:
            del self._sorted[bisect_left(self._sorted, self._ring[self._oldest])]
            self._ring[self._oldest] = value
            self._oldest = (self._oldest + 1) % self._size
        insort(self._sorted, value)

    def nearest(self, value: float) -> float:
        """Return the distance to the nearest number; there must be one."""
        known = self._sorted
        at = bisect_left(known, value)
        if at == len(known):
            return value - known[-1]
        above = known[at] - value
        return above if at == 0 else min(above, value - known[at - 1])

    def excesses(self, share: float) -> tuple[float, int, float]:
        """Return the quantile that `share` of the numbers lie above, how many do, and the sum of excesses."""
        known = self._sorted
        quantile = self.upper(share)
        at = bisect_right(known, quantile)
        return quantile, len(known) - at, sum(known[at:]) - (len(known) - at) * quantile

    def upper(self, share: float) -> float:
        """Return the quantile that `share` of the numbers lie above."""
        return self._sorted[len(self._sorted) - 1 - int(share * len(self._sorted))]

    @property
    def largest(self) -> float:
        return self._sorted[-1]

    def snapshot(self) -> list[float]:
        return [*self._ring[self._oldest :], *self._ring[: self._oldest]]

    def restore(self, state: list[float]) -> None:
        self._ring = array("d", state)
        self._oldest = 0
        self._sorted = array("d", sorted(state))


class Tail:
    """Rates distances by the newest `memory` of their kind."""

    def __init__(self, memory: int) -> None:
        self._known = SortedWindow(memory)

    def rarity(self, distance: float, resolution: float) -> float:
        """Return -log10 P(a distance is as large), 0 below the tail, and remember the distance.

        `resolution` is the smallest difference that is more than rounding.

        >>> tail = Tail(1000)
        >>> for ordinary in range(500):
        ...     _ = tail.rarity(ordinary % 10, 1e-12)
        >>> tail.rarity(9.0, 1e-12), tail.rarity(100.0, 1e-12) > 2.5
        (0.0, True)
        """
        rare = 0.0
        if len(self._known) >= _LEAST_DISTANCES and distance > self._known.upper(_TAIL) + resolution:
            quantile, count, total = self._known.excesses(_TAIL)
            total += _BLUR * self._known.largest + resolution
            beyond = log10(1.0 + (distance - quantile) / total)
            rare = (count + 1) * beyond - log10((count + 1) / (len(self._known) + 1))
        self._known.add(distance)
        return rare

    def snapshot(self) -> list[float]:
        return self._known.snapshot()

    def restore(self, state: list[float]) -> None:
        self._known.restore(state)


class Scalars:
    """Rates numbers by their distance to the nearest of those at least `delay` before them.

    Memory: `memory` numbers and as many distances.
    """

    def __init__(self, memory: int, delay: int = 1) -> None:
        self._delay = delay
        self._known = SortedWindow(memory)
        self._waiting: deque[float] = deque()
        self._tail = Tail(memory)

    def rarity(self, value: float, resolution: float) -> float:
        """Return how rare the number's distance is, and remember both."""
        if len(self._waiting) == self._delay:
            self._known.add(self._waiting.popleft())
        self._waiting.append(value)
        if len(self._known) < _LEAST_KNOWN:
            return 0.0
        return self._tail.rarity(self._known.nearest(value), resolution)

    def snapshot(self) -> dict[str, Any]:
        return {
            "known": self._known.snapshot(),
            "waiting": list(self._waiting),
            "distances": self._tail.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._known.restore(state["known"])
        self._waiting = deque(state["waiting"])
        self._tail.restore(state["distances"])


class Shapes:
    """Rates the run of the newest `length` numbers by its distance to the nearest run before it.

    Runs that share a number with the newest one are left out: what moves slowly resembles itself (the
    exclusion zone of the matrix profile, C.-C. M. Yeh et al., ICDM 2016). Memory: `memory` numbers.
    """

    def __init__(self, memory: int, length: int) -> None:
        self._length = length
        self._numbers: list[float] = []
        self._size = memory
        self._tail = Tail(memory)

    def rarity(self, value: float, resolution: float) -> float:
        """Return how rare the distance of the run that ends with `value` is, and remember it."""
        numbers, length = self._numbers, self._length
        numbers.append(value)
        if len(numbers) > self._size:
            del numbers[0]
        starts = len(numbers) - 2 * length + 1
        if starts < _LEAST_KNOWN:
            return 0.0
        newest = numbers[-length:]
        distance = min(dist(numbers[start : start + length], newest) for start in range(starts))
        return self._tail.rarity(distance, resolution)

    def snapshot(self) -> dict[str, Any]:
        return {"numbers": list(self._numbers), "distances": self._tail.snapshot()}

    def restore(self, state: dict[str, Any]) -> None:
        self._numbers = list(state["numbers"])
        self._tail.restore(state["distances"])
