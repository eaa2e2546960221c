"""The loop of the workers that need no stream engine: fetch batches, hand them on, exactly once.

    fetch ─▶ handler.process(partition, records) ─▶ one transaction: outputs + offset ─▶ next batch

Batches of different partitions overlap (one computes while the other commits); those of one never do. Where a
handler has urgent streams, theirs are processed ahead of a backlog (`ahead`), by turns with the others.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import monotonic
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from infra.runtime import metrics
from infra.runtime.control import Valve, opened_valve
from infra.runtime.kafka import lifecycle
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.ahead import Scout, Urgent, behind
from infra.runtime.kafka.exactly_once import GATHER_BYTES, GATHER_MS, ExactlyOnce, Handler
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.control import Stage
from schemas.errors import Retryable
from schemas.topics import Topic

_log = get_logger(__name__)
_FIRST_BACKOFF_S: Final = 0.5
_LAST_BACKOFF_S: Final = 15.0
TURN_S: Final = 0.5
"""How long urgent streams are processed ahead before the others have a round: they are never left out."""

Idle = Callable[[], Awaitable[None]]
Limit = int | Callable[[], int]
"""The most records of a round, or who says so before each."""


class BatchLoop(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """One group member; made anew after a broker failure, so that its state comes from the log again."""

    def __init__(
        self,
        settings: Settings,
        *,
        group: str,
        topics: Sequence[Topic],
        handler: Handler,
        valve: Valve | None = None,
    ) -> None:
        # Also where nothing is urgent any more: what was answered ahead is not to be answered again.
        self._urgent = urgent = handler if isinstance(handler, Urgent) else None
        self._group = settings.config.topic_prefix + group
        self._valve = valve
        self._topics = [settings.topic(topic) for topic in topics]
        self._work = ExactlyOnce(settings, group, handler, urgent=urgent)
        self._scout = Scout(settings, group) if urgent is not None and urgent.urgent else None
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.endpoints.kafka,
            group_id=self._group,
            client_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=6_000,
            heartbeat_interval_ms=1_000,
            fetch_min_bytes=GATHER_BYTES,
            fetch_max_wait_ms=GATHER_MS,
        )
        self._generation = 0
        self._failure: Exception | None = None
        self.progressed = False

    async def run(self, *, max_records: Limit, max_wait_s: float, idle: Idle | None = None) -> None:
        """Process until cancelled. `idle` runs between two rounds of batches, never during one."""
        try:
            await lifecycle.start(self._consumer)
            if self._scout is not None:
                await self._scout.start()
            self._consumer.subscribe(self._topics, listener=self)
            while True:
                rows = max_records() if callable(max_records) else max_records
                await self._round(rows, max_wait_s)
                if idle is not None:
                    await idle()
                if self._scout is not None:
                    await self._ahead(self._scout, rows, idle)
        finally:
            if self._scout is not None:
                await self._scout.stop()
            await lifecycle.stop(self._consumer)
            await self._work.stop()
            metrics.forget_lag(self._group)

    async def _round(self, max_records: int, max_wait_s: float) -> None:
        metrics.observe_lag(self._consumer, self._group)
        if self._valve is not None:
            self._valve.apply(self._consumer)
        if self._urgent is not None and self._scout is not None and self._scout.on:
            max_records = min(max_records, self._urgent.brief_rows)
        fetched = await self._consumer.getmany(timeout_ms=int(max_wait_s * 1000), max_records=max_records)
        # Nothing is awaited between the taking of the records, inside getmany, and this line.
        generation = self._generation
        if self._failure is not None:
            raise self._failure
        await asyncio.gather(
            *(self._work.batch(generation, partition, records) for partition, records in fetched.items())
        )
        self.progressed = self.progressed or bool(fetched)

    async def _ahead(self, scout: Scout, rows: int, idle: Idle | None) -> None:
        """Process what is urgent of a backlog until there is no more of it, or the others' turn has come."""
        marks, lags = self._work.marks, self._lags()
        closed = self._valve is not None and self._valve.closed
        if marks is None or closed or not behind(lags.values(), rows):
            scout.rest()
            return
        wanted = {partition: marks.to(partition) for partition in lags if marks.moves(partition)}
        if not wanted:  # others were urgent before: the position reaches their marks first
            scout.rest()
            return
        if scout.partitions != wanted.keys():
            scout.go(wanted)
        ends = monotonic() + TURN_S
        while monotonic() < ends:
            taken = await scout.take(rows)
            generation = self._generation
            if self._failure is not None:
                raise self._failure
            if not taken:
                return
            moved = await asyncio.gather(*(self._work.ahead(generation, one) for one in taken))
            if not all(moved):
                scout.rest()
                return
            self.progressed = True
            if idle is not None:
                await idle()

    def _lags(self) -> dict[TopicPartition, int]:
        """Return how many records of each owned partition are known to wait."""
        assigned = self._consumer.assignment()
        owned = {tp: position for tp, position in self._work.positions().items() if tp in assigned}
        return {tp: max(0, (self._consumer.highwater(tp) or 0) - position) for tp, position in owned.items()}

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Give partitions up, their batches in hand finished."""
        await self._work.revoke(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Take partitions over, then read on from where the log says."""
        generation = self._generation + 1
        if self._scout is not None:
            self._scout.rest()  # what it took belongs to no generation, and it goes on from the new marks
        try:
            for partition, position in (await self._work.assign(assigned, generation)).items():
                self._consumer.seek(partition, position)
        except Exception as error:
            # aiokafka logs what a listener raises and goes on, with partitions that nobody processes.
            self._failure = error
            raise
        # Only now: what was taken before the seeks belongs to no generation, is dropped and fetched again.
        self._generation = generation


async def run_batches(
    settings: Settings,
    *,
    group: str,
    topics: Sequence[Topic],
    handler: Handler,
    max_records: Limit = 2000,
    max_wait_s: float = 0.05,
    idle: Idle | None = None,
    stage: Stage | None = None,
) -> None:
    """Process batches until cancelled; when the brokers fail, start anew with growing pauses.

    As a `stage` it can be paused by operators (`infra.runtime.control`).

    Raises:
        Fatal: the partition belongs to another member, or going on would lose or double something.
    """
    backoff_s = _FIRST_BACKOFF_S
    async with opened_valve(settings, stage) as valve:
        while True:
            loop = BatchLoop(settings, group=group, topics=topics, handler=handler, valve=valve)
            try:
                await create_topics(settings)
                await loop.run(max_records=max_records, max_wait_s=max_wait_s, idle=idle)
            except (KafkaError, Retryable) as error:
                if loop.progressed:
                    backoff_s = _FIRST_BACKOFF_S
                _log.warning("batches.interrupted", error=str(error), again_in_s=backoff_s)
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, _LAST_BACKOFF_S)
