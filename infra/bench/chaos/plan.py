"""What a chaos run is to do: how many events, which faults at which seeded moments, and where the figures go.

The moments are counted in events sent, not in seconds: the same seed hits the same places of the stream on a
fast machine and on a slow one.
"""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, Literal

from infra.cli.worker import Worker

WORKERS: Final = (Worker.STREAMS, Worker.SINK, Worker.SERVING)
"""The workers on an event's way from `events.raw` to ClickHouse and to its prediction."""

MOST_MEMBERS: Final = 3
_FIRST, _LAST = 0.03, 0.95  # the share of the events between which faults happen


@dataclass(frozen=True)
class Plan:
    """One run. Shares are of `events`; `strays` of the copies.

    `in_flight` bounds the events that were sent and are not everywhere yet. A run is given up when nothing
    has moved for `stall_s`.
    """

    home: Path
    events: int = 300_000
    kills: int = 20
    rebalances: int = 10
    seed: int = 7
    copies: float = 0.05
    strays: float = 0.25
    bad: float = 0.005
    in_flight: int = 0
    stall_s: float = 120.0
    json_path: str = ""

    @property
    def window(self) -> int:
        """Return how many events may be on their way: faults shall meet some, and a stall be seen soon."""
        return self.in_flight or max(500, min(20_000, self.events // 8))


@dataclass(frozen=True)
class Fault:
    """One thing done to a worker once `at` events were sent. `member` counts from 1."""

    at: int
    what: Literal["kill", "join", "leave"]
    worker: Worker
    member: int


def schedule(plan: Plan) -> list[Fault]:
    """Return the run's faults in order: seeded moments, workers and members.

    Each group grows from one member to three and shrinks back, one rebalance at a time; a kill hits any
    member that is there at that moment.
    """
    random = Random(plan.seed)
    kinds = ["kill"] * plan.kills + ["rebalance"] * plan.rebalances
    random.shuffle(kinds)
    first, last = int(plan.events * _FIRST), int(plan.events * _LAST)
    moments = sorted(random.randint(first, last) for _ in kinds)
    members = dict.fromkeys(WORKERS, 1)
    growing = dict.fromkeys(WORKERS, True)
    faults = []
    moving = random.choice(WORKERS)
    for at, kind in zip(moments, kinds, strict=True):
        if kind == "kill":
            worker = random.choice(WORKERS)
            faults.append(Fault(at, "kill", worker, random.randint(1, members[worker])))
            continue
        if members[moving] == 1 and not growing[moving]:  # this group is back at one: another's turn
            growing[moving] = True
            moving = WORKERS[(WORKERS.index(moving) + 1) % len(WORKERS)]
        if growing[moving]:
            members[moving] += 1
            faults.append(Fault(at, "join", moving, members[moving]))
        else:
            faults.append(Fault(at, "leave", moving, members[moving]))
            members[moving] -= 1
        if members[moving] == MOST_MEMBERS:
            growing[moving] = False
    return faults
