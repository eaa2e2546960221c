"""What a run on a Flink cluster is to do: how many events, and which process dies at which seeded moment.

Moments are counted in events sent, so that a seed hits the same places of the stream on any machine.
"""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from infra.bench.chaos.plan import Plan

TASKMANAGER: Final = "taskmanager-1"
JOBMANAGER: Final = "jobmanager"
BROKER: Final = "kafka"
_JITTER: Final = 0.3
_FIRST, _LAST = 0.03, 0.75  # the share of the events between which faults happen


class Fault(NamedTuple):
    """`kill -9` of a process once `at` events were sent; its supervisor starts it again."""

    at: int
    process: str


@dataclass(frozen=True)
class FlinkPlan:
    """One run. `parallelism` tasks in as many slots of one TaskManager."""

    home: Path
    events: int = 2_000_000
    taskmanager_kills: int = 10
    jobmanager_kills: int = 2
    broker_kills: int = 1
    parallelism: int = 2
    seed: int = 7
    stall_s: float = 120.0
    json_path: str = ""

    @property
    def traffic(self) -> Plan:
        """Return the same as a plan of events: copies, strays and bad ones as `bench chaos` sends them."""
        return Plan(
            self.home,
            self.events,
            kills=0,
            rebalances=0,
            seed=self.seed,
            in_flight=max(2_000, self.events // 64),
        )

    @property
    def faults(self) -> int:
        """Return how many faults there are."""
        return self.taskmanager_kills + self.jobmanager_kills + self.broker_kills


def schedule(plan: FlinkPlan) -> list[Fault]:
    """Return the faults in order, so far apart that after each one events are left to come out.

    Nothing is sent beyond the next fault's moment before the one in hand is over.
    """
    random = Random(plan.seed)
    processes = [
        *[TASKMANAGER] * plan.taskmanager_kills,
        *[JOBMANAGER] * plan.jobmanager_kills,
        *[BROKER] * plan.broker_kills,
    ]
    random.shuffle(processes)
    each = (_LAST - _FIRST) / max(1, len(processes))
    moments = (_FIRST + each * (number + _JITTER * random.random()) for number in range(len(processes)))
    return [Fault(int(plan.events * at), process) for at, process in zip(moments, processes, strict=True)]
