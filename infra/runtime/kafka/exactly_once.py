"""What every exactly-once worker does with its partitions: own, process, commit, give up.

Used by the plain batch loop (`batches`) and by the Faust engine alike. A lane is an input partition, or the
partitions of one number of several topics that share a state. A batch and its commit are one step per lane; a
rebalance waits for the steps in hand. After a step that failed nothing is processed any more: the state is
ahead of the log, and the next batch would pass over the one that failed.

Records fetched before a rebalance must not be processed after it (they may lie beyond the position that
reading goes on from, and what lies between would be passed over), so every batch carries the generation in
which it was taken from the fetcher.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import monotonic
from typing import Final, Protocol

from aiokafka import TopicPartition

from infra.runtime import metrics
from infra.runtime.kafka.ahead import Marks, Taken, Urgent
from infra.runtime.kafka.blocks import since
from infra.runtime.kafka.transactions import Offset, Transactions
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.errors import Fatal
from schemas.record import Incoming, Outgoing
from schemas.topics import Topic

GATHER_BYTES: Final = 512 * 1024
GATHER_MS: Final = 100
"""A broker gathers records for so long, or so many, before it answers a fetch. A transaction costs the same
for one event as for thousands: at low rates this shares it, at high rates it is never waited for."""

_log = get_logger(__name__)

Process = Callable[[TopicPartition, Sequence[Incoming]], Awaitable[Sequence[Outgoing]]]


class Handler(Protocol):
    """What is done to a batch, and to the state that belongs to a lane (named by its first partition)."""

    async def assigned(self, partition: TopicPartition, position: int) -> None:
        """Restore the lane's state; `position` is the next offset to come, 0 only if nothing ever came.

        Of several partitions' offsets it is the largest. Whoever owned the lane is fenced already.
        """
        ...

    async def process(self, partition: TopicPartition, records: Sequence[Incoming]) -> Sequence[Outgoing]:
        """Turn one batch into outputs. Whatever it raises leaves the batch uncommitted."""
        ...

    async def revoked(self, partition: TopicPartition) -> None:
        """Drop the lane's state."""
        ...


class ExactlyOnce:
    """The lanes that this member owns, each with its positions and its transactional producer.

    Partitions of one number of the topics `together` are one lane, named by the first topic's: one state, one
    producer, one step at a time.
    """

    def __init__(
        self,
        settings: Settings,
        group: str,
        handler: Handler,
        *,
        together: Sequence[Topic] = (),
        urgent: Urgent | None = None,
    ) -> None:
        self._handler = handler
        self._group = settings.config.topic_prefix + group
        self._transactions = Transactions(settings, group)
        self._urgent = urgent
        self.marks = Marks(urgent.urgent, urgent.stream_of) if urgent is not None else None
        self._together = tuple(settings.topic(topic) for topic in together)
        self._positions: dict[TopicPartition, int] = {}
        self._in_hand: defaultdict[TopicPartition, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._generation = -1
        self._failed = False

    async def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Wait for the batches in hand, then give the partitions up, each with its whole lane."""
        for lane in self._lanes(partitions):
            async with self._in_hand[lane]:
                owned = [partition for partition in self._positions if self._lane(partition) == lane]
                if not owned:
                    continue
                for partition in owned:
                    del self._positions[partition]
                    if self.marks is not None:
                        self.marks.forget(partition)
                await self._transactions.release(lane)
                await self._handler.revoked(lane)
            _log.info("partition.revoked", topic=lane.topic, partition=lane.partition)

    async def assign(
        self, partitions: Iterable[TopicPartition], generation: int
    ) -> dict[TopicPartition, int]:
        """Fence each lane's former owner, restore its state and return where to read on.

        Raises:
            Fatal: a lane is not whole: another member has the rest of it.
        """
        self._generation = generation
        lanes = self._lanes(partitions)
        for lane, members in lanes.items():
            self._check_whole(lane, members)
        assigned = {}
        for lane, members in lanes.items():
            async with self._in_hand[lane]:
                # One producer for the lane: it fences the former owner on all its partitions at once, so
                # that nothing can be added any more to the log from which the state is read.
                positions = await self._transactions.take_over(lane, members)
                await self._handler.assigned(lane, max(positions.values()))
                if self.marks is not None:
                    for partition, position in positions.items():
                        self.marks.restore(partition, position, self._transactions.metadata[partition])
                self._positions.update(positions)
                assigned.update(positions)
            _log.info(
                "partition.assigned",
                topic=lane.topic,
                partition=lane.partition,
                position=positions[members[0]],
            )
        return assigned

    def read_on(self, generation: int) -> dict[TopicPartition, int]:
        """Return where to read on; from now on only batches taken in `generation` are processed."""
        self._generation = generation
        return dict(self._positions)

    async def batch(self, generation: int, partition: TopicPartition, records: Sequence[Incoming]) -> None:
        """Process and commit records taken in `generation`; those below the position are left out.

        Raises:
            Fatal: another member owns the partition.
            Retryable: the brokers failed; state and position are ahead of the log: start anew.
        """
        lane = self._lane(partition)
        async with self._in_hand[lane]:
            position = self._positions.get(partition)
            if position is None or generation != self._generation or self._failed:
                return
            if records[0].offset < position:
                records = since(records, position)
            if not records:
                return
            next_offset = records[-1].offset + 1
            offset: Offset = next_offset
            if self.marks is not None:
                records = self.marks.left(partition, records)
                offset = self.marks.offset(partition, next_offset)
            await self._step(lane, self._handler.process, partition, records, offset)
            self._positions[partition] = next_offset
            if self.marks is not None:
                self.marks.passed(partition, next_offset)

    async def ahead(self, generation: int, taken: Taken) -> bool:
        """Process and commit what is urgent of records beyond the mark; tell whether the mark has moved.

        It has not where the records do not join it: they are to be read again from there.

        Raises:
            Fatal, Retryable: as `batch`.
        """
        if self.marks is None or self._urgent is None:
            return False
        partition, start, records = taken
        lane = self._lane(partition)
        async with self._in_hand[lane]:
            position = self._positions.get(partition)
            if position is None or generation != self._generation or self._failed:
                return False
            if not self.marks.joins(partition, start):
                return False
            to = records[-1].offset + 1
            first = self.marks.first(partition, records)
            if first:
                offset = self.marks.offset(partition, position, to)
                await self._step(lane, self._urgent.process_ahead, partition, first, offset)
            self.marks.reached(partition, to)
            return True

    def positions(self) -> dict[TopicPartition, int]:
        """Return the next offset of each partition that is owned."""
        return dict(self._positions)

    async def _step(
        self,
        lane: TopicPartition,
        process: Process,
        partition: TopicPartition,
        records: Sequence[Incoming],
        offset: Offset,
    ) -> None:
        """Process records, if there are any, and commit their outputs with the offset."""
        try:
            began_s = monotonic()
            outputs = await process(partition, records) if len(records) else ()
            processed_s = monotonic()
            await self._transactions.commit(lane, outputs, {partition: offset})
            metrics.observe_batch(self._group, len(records), processed_s - began_s)
            metrics.observe_transaction(self._group, monotonic() - processed_s)
        except BaseException:
            metrics.count_failed_transaction(self._group)
            self._failed = True
            raise

    async def stop(self) -> None:
        """Give everything up and disconnect."""
        await self.revoke(list(self._positions))
        await self._transactions.stop()

    def _lane(self, partition: TopicPartition) -> TopicPartition:
        if partition.topic in self._together:
            return TopicPartition(self._together[0], partition.partition)
        return partition

    def _lanes(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, list[TopicPartition]]:
        lanes: dict[TopicPartition, list[TopicPartition]] = {}
        for partition in sorted(partitions):
            lanes.setdefault(self._lane(partition), []).append(partition)
        return lanes

    def _check_whole(self, lane: TopicPartition, members: Sequence[TopicPartition]) -> None:
        missing = set(self._together) - {partition.topic for partition in members}
        if lane.topic in self._together and missing:
            raise Fatal(
                f"partition {lane.partition} of {', '.join(sorted(missing))} belongs to another member or"
                f" does not exist; it must go with those of {', '.join(self._together)}: give these topics"
                " the same number of partitions, and let only workers of one version run in the group"
            )
