"""Follows `streams.control` for a worker: operators' orders in, what is paused at this moment out.

`Controls` reads the topic to its end, then on. A `Valve` closes and opens one group's consumer by it, between
two fetches: partitions are paused as Kafka's clients understand it, so the worker stays in its group, keeps
its partitions and its state, and the topics hold what comes. Until the orders are known a valve is closed.
"""

import asyncio
import getpass
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

from aiokafka.errors import KafkaError

from infra.runtime import metrics
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas import codec, topics
from schemas.control import Action, Control, Scope, Stage
from schemas.errors import Rejected, Retryable
from schemas.record import Incoming, Outgoing

GROUPS: Final[Mapping[Stage, str]] = {
    Stage.CLEAN: "headrace-streams",
    Stage.SINK: "headrace-sink",
    Stage.INFERENCE: "serving",
}
"""The consumer group of each stage, without the installation's prefix."""

_RETRY_S: Final = 1.0
_log = get_logger(__name__)


class Controls:
    """What operators have asked for, as far as this process has read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._newest: dict[str, Control] = {}
        self._read = -1
        self.known = False
        self.paused_streams: frozenset[str] = frozenset()
        """The streams that are paused now."""
        self.resumed_at = -1
        """The number of the newest resumption of a stream; -1 if there was none."""

    def newest(self, scope: Scope, name: str) -> Control | None:
        """Return the pause or resumption that holds for a stage or stream, if there ever was one."""
        return self._newest.get(f"{scope.value}/{name}")

    def paused(self, scope: Scope, name: str) -> Control | None:
        """Return the order by which a stage or stream is paused now."""
        newest = self.newest(scope, name)
        return newest if newest is not None and newest.action is Action.PAUSED else None

    def silenced(self, stream: str, signal: str, now: datetime) -> Control | None:
        """Return the order by which alerts of a stream, or of one of its signals, are silenced now."""
        for name in (stream, f"{stream}/{signal}"):
            order = self.newest(Scope.ALERT, name)
            if order is not None and order.action is Action.SILENCED and order.until and now < order.until:
                return order
        return None

    def acknowledged(self, alert: str) -> Control | None:
        """Return the order by which somebody said that they know of an alert."""
        order = self.newest(Scope.ALERT, alert)
        return order if order is not None and order.action is Action.ACKNOWLEDGED else None

    def orders(self) -> list[Control]:
        """Return the newest order of every key."""
        return list(self._newest.values())

    async def load(self) -> None:
        """Read the orders to their present end.

        Raises:
            Retryable: the topic is not there yet.
            KafkaError: no broker answers.
        """
        async for record in follow(self._settings, [topics.CONTROL], stop_at_end=True):
            self.take(record)
        self.known = True

    async def follow(self) -> None:
        """Load, then take every further order at once, until cancelled; Kafka's failures only delay it."""
        while True:
            try:
                if not self.known:
                    await self.load()
                async for record in follow(self._settings, [topics.CONTROL]):
                    self.take(record)
            except (KafkaError, Retryable, OSError) as error:
                _log.warning("control.interrupted", error=str(error), again_in_s=_RETRY_S)
                await asyncio.sleep(_RETRY_S)

    def take(self, record: Incoming) -> None:
        """Take one record of the topic; one that was taken before, or is no order, changes nothing."""
        if record.offset <= self._read or record.value is None:
            return
        try:
            order = codec.decode(record.value, Control)
        except Rejected as error:
            _log.warning("control.ignored", offset=record.offset, error=str(error))
            return
        self._read = record.offset
        self._newest[order.key()] = order
        if order.action is Action.RESET or order.scope is Scope.ALERT:
            return
        if order.scope is Scope.STREAM:
            self._streams(order, record.offset)
        scope, name = order.scope.value, order.name
        metrics.set_paused(scope, name, paused=order.action is Action.PAUSED)
        if self.known:
            _log.info(f"{scope}.{order.action.value}", name=name, by=order.by, reason=order.reason)

    def _streams(self, order: Control, number: int) -> None:
        if order.action is Action.PAUSED:
            self.paused_streams |= {order.name}
        else:
            self.paused_streams -= {order.name}
            self.resumed_at = number


class Valve:
    """Closes a stage's consumer while the stage is paused, and opens it again.

    `held` names the partitions that stay closed for a reason of the stage's own.
    """

    def __init__(
        self, controls: Controls, stage: Stage, held: Callable[[], Collection[Any]] = frozenset
    ) -> None:
        self._controls = controls
        self._stage = stage
        self._held = held

    @property
    def closed(self) -> bool:
        """Tell whether nothing may be fetched now."""
        return not self._controls.known or self._controls.paused(Scope.STAGE, self._stage.value) is not None

    async def follow(self) -> None:
        """Follow the orders until cancelled."""
        await self._controls.follow()

    def apply(self, consumer: Any) -> None:
        """Pause or resume an aiokafka consumer's partitions; call it before every fetch, in its thread."""
        assigned = set(consumer.assignment())
        shut = assigned if self.closed else assigned.intersection(self._held())
        paused = set(consumer.paused()) & assigned
        if shut - paused:
            consumer.pause(*(shut - paused))
        if paused - shut:
            consumer.resume(*(paused - shut))


@asynccontextmanager
async def opened_valve(settings: Settings, stage: Stage | None) -> AsyncIterator[Valve | None]:
    """Yield a stage's valve, which follows the orders for the length of a block; nothing for no stage."""
    if stage is None:
        yield None
        return
    valve = Valve(Controls(settings), stage)
    following = asyncio.create_task(valve.follow())
    try:
        yield valve
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def operator() -> str:
    """Return who gives an order when nobody is named: the user of this process and the machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"  # a process without a user name, as in some containers
    return f"{user}@{socket.gethostname()}"


async def give(publisher: Publisher, order: Control) -> None:
    """Write an order; the workers take it within a moment.

    Raises:
        Retryable: Kafka did not acknowledge it.
    """
    await publisher.send(Outgoing(topics.CONTROL.name, order.key().encode(), codec.encode(order)))
    _log.info(f"{order.scope.value}.{order.action.value}", name=order.name, by=order.by, reason=order.reason)
