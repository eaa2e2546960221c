"""What every learner looks like: asked about a row as it comes, told its label when that comes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from infra.backtest.row import Value

Shares = dict[str, float]
"""Probability of each label that is known; empty before the first."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A row as a learner sees it when it comes.

    `values` are the row's own readings, `moves` how far they lie from what they were lately, `told` what
    the labels say that came by now (shares of the newest ones); `last` is the newest label and `age` how many
    rows ago its row was.
    """

    values: Mapping[str, Value]
    moves: Mapping[str, float]
    told: Mapping[str, float]
    text: str = ""
    last: str = ""
    age: int = 0

    @property
    def all(self) -> dict[str, Value]:
        """Return everything by name."""
        return {**self.values, **self.moves, **self.told}


class Learner(Protocol):
    """Learns row by row. What it remembers is bounded."""

    def shares(self, seen: Seen) -> Shares:
        """Return the probability of each label; empty while nothing was learnt."""
        ...

    def learn(self, seen: Seen, label: str) -> None:
        """Take the label of a row that was seen before."""
        ...


def best(shares: Shares) -> tuple[str, float]:
    """Return the likeliest label and its probability; of equal ones the first by name, empty for none."""
    if not shares:
        return "", 0.0
    label = min(shares, key=lambda name: (-shares[name], name))
    return label, shares[label]
