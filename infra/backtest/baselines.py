"""What a backtest is measured against: consumes the same rows and labels, produces the answers of doing less.

no_change        the label that came last
frozen           the same learner, taught the first labels only, without labels among its readings
always_retrain   the same learner, made anew at regular intervals from the newest labels, drift or none
"""

from collections import deque
from dataclasses import replace
from typing import Final, Protocol

from infra.backtest.labels import Judged
from infra.backtest.learners.choice import Make
from infra.backtest.learners.protocol import Learner, Seen, best

NEWEST: Final = 2000
"""Labels that `always_retrain` is taught."""


class Baseline(Protocol):
    """Answers rows, and is told the labels as they come."""

    def answer(self, seen: Seen) -> str:
        """Return the answer to a row."""
        ...

    def learn(self, judged: Judged) -> None:
        """Take a label that came."""
        ...


class NoChange:
    """The label that came last."""

    def answer(self, seen: Seen) -> str:
        return seen.last

    def learn(self, judged: Judged) -> None:
        """Nothing is learnt: the row itself says what the last label was."""


class Frozen:
    """Learns `labels` labels and then never again."""

    def __init__(self, make: Make, labels: int) -> None:
        self._learner = make()
        self._left = labels

    def answer(self, seen: Seen) -> str:
        return best(self._learner.shares(_unlabelled(seen)))[0]

    def learn(self, judged: Judged) -> None:
        if self._left:
            self._left -= 1
            self._learner.learn(_unlabelled(judged.seen), judged.row.label)


class AlwaysRetrain:
    """A new learner at every `every`-th label, from the newest 2,000; the first after a tenth of that."""

    def __init__(self, make: Make, every: int) -> None:
        self._make = make
        self._every = every
        self._learner: Learner | None = None
        self._newest: deque[Judged] = deque(maxlen=NEWEST)
        self._since = 0

    def answer(self, seen: Seen) -> str:
        return best(self._learner.shares(seen))[0] if self._learner else seen.last

    def learn(self, judged: Judged) -> None:
        self._newest.append(judged)
        self._since += 1
        if self._since >= (self._every if self._learner else max(10, self._every // 10)):
            self._since = 0
            self._learner = self._make()
            for known in self._newest:
                self._learner.learn(known.seen, known.row.label)


def _unlabelled(seen: Seen) -> Seen:
    return replace(seen, told={}, last="", age=0)


def baselines(make: Make | None, *, first: int, every: int) -> dict[str, Baseline]:
    """Return the baselines by name; without a learner, no change alone."""
    found: dict[str, Baseline] = {"no_change": NoChange()}
    if make is not None:
        found |= {"frozen": Frozen(make, first), "always_retrain": AlwaysRetrain(make, every)}
    return found
