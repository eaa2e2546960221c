"""What one run of `headrace bench serve` is to do: consumes the command's options, produces a plan."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from infra.bench.swap.plan import Family

NAME: Final = "swapped"
"""The model's name, and its stream's: `infra.bench.swap.models` makes it."""
WARM_S: Final = 2.0
_MOST_PER_S: Final = 600

T = TypeVar("T")


class Scenario(StrEnum):
    """What is served, and what is asked.

    minilm: MiniLM INT8 with a head, no two texts the same. sensor: a small perceptron over readings. cached:
    the same MiniLM, texts repeated as masked log lines repeat. null: peers serve nothing at all; Headrace,
    which serves releases only, the perceptron.
    """

    MINILM = "minilm"
    SENSOR = "sensor"
    CACHED = "cached"
    NULL = "null"

    @property
    def family(self) -> Family:
        """Return the family of the release."""
        return Family.TEXT if self in {Scenario.MINILM, Scenario.CACHED} else Family.SENSOR

    @property
    def has_session(self) -> bool:
        """Tell whether there is a model to measure without a server."""
        return self is not Scenario.NULL


@dataclass(frozen=True)
class ServePlan:
    """Ask each of `systems` for `seconds` at every concurrency, in each of `rounds`."""

    home: Path
    scenario: Scenario
    systems: Sequence[str]
    concurrency: Sequence[int] = (1, 16, 64)
    rounds: int = 3
    seconds: float = 5.0
    seed: int = 7

    def order(self, number: int) -> list[str]:
        """Return the systems in the order of a round."""
        turn = number % len(self.systems)
        return [*self.systems[turn:], *self.systems[:turn]]

    @property
    def headline(self) -> int:
        """Return the concurrency whose figures stand for a system: the middle one."""
        return sorted(self.concurrency)[len(self.concurrency) // 2]

    @property
    def rows(self) -> int:
        """Return how many rows no system can exhaust, where none may come twice."""
        each_s = len(self.concurrency) * self.seconds + WARM_S
        return int(self.rounds * each_s * _MOST_PER_S) if self.scenario is Scenario.MINILM else 4000


def cores() -> int:
    """Return how many cores this process may use: so many rows may a server answer at once."""
    return len(os.sched_getaffinity(0))
