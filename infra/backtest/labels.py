"""When labels come and for which rows: consumes rows as they are judged, produces the labels that are due.

Of a share of the rows a label ever comes: of random ones, or of those of which the learner is least sure,
as a review queue would choose them (I. Žliobaitė et al., "Active learning with drifting streaming data",
IEEE TNNLS 25, 2014: a budget, a threshold that follows it, and a random part that keeps watch everywhere).
"""

import random
from bisect import bisect_right
from collections import deque
from typing import Final, NamedTuple

from infra.backtest.learners.protocol import Seen
from infra.backtest.plan import Choice, Delay
from infra.backtest.row import Row

RANDOM_PART: Final = 0.25
"""Share of the budget that is spent at random: only the error rate of these rows is that of all."""

_RESERVE: Final = 5.0
_RECENT: Final = 200
_LEAST_SURE: Final = 0.2


class Judged(NamedTuple):
    """A row that was answered and waits for its label. `fair`: it was not chosen for its answer."""

    row: Row
    seen: Seen
    answer: str
    fair: bool


class Queue:
    """Labels on their way. Memory: the rows within the delay."""

    def __init__(self, delay: Delay) -> None:
        self._delay = delay
        self._waiting: deque[Judged] = deque()

    def put(self, judged: Judged) -> None:
        """Take a row whose label will come."""
        self._waiting.append(judged)

    def due(self, number: int, at_s: float) -> list[Judged]:
        """Return those whose label came by now: `number` rows were judged, and event time is `at_s`."""
        found = []
        while self._waiting and self._came(self._waiting[0].row, number, at_s):
            found.append(self._waiting.popleft())
        return found

    def _came(self, row: Row, number: int, at_s: float) -> bool:
        if self._delay.seconds:
            return row.at_s + self._delay.seconds <= at_s
        return row.number + self._delay.rows < number


class Chooser:
    """Which rows get a label: never more than `rate` of those that were asked about."""

    def __init__(self, rate: float, choice: Choice, seed: int) -> None:
        self._rate = rate
        self._choice = choice
        self._random = random.Random(seed)
        self._budget = 0.0
        self._sure: deque[float] = deque(maxlen=_RECENT)

    def wants(self, confidence: float | None) -> tuple[bool, bool]:
        """Say whether the next row gets a label, and whether that has nothing to do with its answer.

        A row without an answer (there is no model yet) has no `confidence`: it is drawn at random.
        """
        if self._rate >= 1.0:
            return True, True
        if self._choice is Choice.RANDOM or confidence is None:
            return self._random.random() < self._rate, True
        self._budget += self._rate
        rank = bisect_right(sorted(self._sure), confidence) / max(1, len(self._sure))
        self._sure.append(confidence)
        if self._budget < 1.0:
            return False, False
        fair = self._random.random() < RANDOM_PART * self._rate
        unsure = rank <= _LEAST_SURE * min(1.0, self._budget / _RESERVE)
        if not (fair or unsure):
            return False, False
        self._budget -= 1.0
        return True, fair
