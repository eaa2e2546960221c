"""Publishing under faults: consumes the traffic and the schedule, produces what was sent and a timeline."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, Generic, Protocol, TypeVar

from infra.bench.chaos.copies import Copies
from infra.bench.chaos.plan import Plan
from infra.bench.chaos.traffic import Message, Nature, Traffic
from infra.runtime.kafka.produce import Publisher

_CHUNK: Final = 250
_LOOK_S: Final = 0.02


@dataclass
class Sent:
    """What the brokers acknowledged."""

    events: Copies
    natures: Counter[Nature] = field(default_factory=Counter)

    @property
    def distinct(self) -> int:
        """Return how many events were acknowledged, copies not counted."""
        return self.events.distinct

    @property
    def copies(self) -> int:
        """Return how many duplicates were sent, on whichever partition."""
        return self.natures[Nature.COPY] + self.natures[Nature.STRAY]


class Moment(Protocol):
    """A fault: it is due once `at` events were sent."""

    @property
    def at(self) -> int:
        """Return its moment."""
        ...


F = TypeVar("F", bound=Moment)
F_contra = TypeVar("F_contra", bound=Moment, contravariant=True)


class Target(Protocol[F_contra]):
    """What faults are done to."""

    async def do(self, fault: F_contra) -> str:
        """Do one fault and say what was done."""
        ...


class Storm(Generic[F]):
    """Sends the messages, never more than the plan's window ahead of the slowest place; does the faults.

    Args:
        plan: the run.
        faults: in order of their moment.
        through: how many events are everywhere.
        told: called with a line about each fault.
    """

    def __init__(
        self, plan: Plan, faults: Sequence[F], through: Callable[[], int], told: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._faults = faults
        self._through = through
        self._told = told
        self._begun = 0
        self.done: list[F] = []
        self.sent = Sent(Copies(plan.events))

    async def publish(self, publisher: Publisher, traffic: Traffic) -> None:
        """Send everything; waits for a fault that is due before it sends on.

        Raises:
            Retryable: the brokers did not acknowledge.
        """
        messages = traffic.messages()
        while chunk := list(islice(messages, _CHUNK)):
            await _until(lambda: not self._ahead() and not self._overdue())
            await publisher.send_all([message.record for message in chunk])
            self._note(chunk)

    async def break_things(self, target: Target[F]) -> None:
        """Do every fault at its moment, one after the other."""
        for fault in self._faults:
            await _until(lambda at=fault.at: self.sent.distinct >= at)  # type: ignore[misc]  # a lambda's default
            self._begun += 1
            done = await target.do(fault)
            self.done.append(fault)
            self._told(f"{done}, {self.sent.distinct:,} events sent")

    def _ahead(self) -> bool:
        return self.sent.distinct - self._through() >= self._plan.window

    def _overdue(self) -> bool:
        """Tell whether a fault should have begun: without this all events might be sent before the first."""
        return self._begun < len(self._faults) and self._faults[self._begun].at <= self.sent.distinct

    def _note(self, chunk: Sequence[Message]) -> None:
        for message in chunk:
            self.sent.natures[message.nature] += 1
            if message.nature is Nature.EVENT:
                self.sent.events.add(str(message.number))


async def _until(holds: Callable[[], bool]) -> None:
    """Look until it holds: what it depends on is counted by other tasks, clients and processes."""
    while not holds():  # noqa: ASYNC110  # nothing tells of it
        await asyncio.sleep(_LOOK_S)
