"""What every exactly-once worker does with its partitions: own, process, commit, give up.

Used by the plain batch loop (`batches`) and by the Faust engine alike. A batch and its commit are one step
per partition; a rebalance waits for the steps in hand. Records fetched before a rebalance must not be
processed after it (they may lie beyond the position that reading goes on from, and what lies between would be
passed over), so every batch carries the generation of the group in which it was taken from the fetcher.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from aiokafka import TopicPartition

from infra.runtime.kafka.transactions import Transactions
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.record import Incoming, Outgoing

GATHER_BYTES: Final = 64 * 1024
GATHER_MS: Final = 100
"""A broker gathers records for so long, or so many, before it answers a fetch. A transaction costs the same
for one event as for thousands: at low rates this shares it, at high rates it is never waited for."""

_log = get_logger(__name__)


class Handler(Protocol):
    """What is done to a batch, and to the state that belongs to a partition."""

    async def assigned(self, partition: TopicPartition, position: int) -> None:
        """Restore the partition's state; `position` is the next offset to come."""
        ...

    async def process(self, partition: TopicPartition, records: Sequence[Incoming]) -> Sequence[Outgoing]:
        """Turn one batch into outputs. Whatever it raises leaves the batch uncommitted."""
        ...

    async def revoked(self, partition: TopicPartition) -> None:
        """Drop the partition's state."""
        ...


class ExactlyOnce:
    """The partitions that this member owns, each with its position and its transactional producer."""

    def __init__(self, settings: Settings, group: str, handler: Handler) -> None:
        self._handler = handler
        self._transactions = Transactions(settings, group)
        self._positions: dict[TopicPartition, int] = {}
        self._in_hand: defaultdict[TopicPartition, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._generation = -1

    async def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Wait for the batches in hand, then give the partitions up."""
        for partition in partitions:
            async with self._in_hand[partition]:
                if self._positions.pop(partition, None) is None:
                    continue
                await self._transactions.release(partition)
                await self._handler.revoked(partition)
            _log.info("partition.revoked", topic=partition.topic, partition=partition.partition)

    async def assign(
        self, partitions: Iterable[TopicPartition], generation: int
    ) -> dict[TopicPartition, int]:
        """Fence each partition's former owner, restore its state and return where to read on."""
        self._generation = generation
        assigned = {}
        for partition in partitions:
            async with self._in_hand[partition]:
                position = await self._transactions.take_over(partition)
                await self._handler.assigned(partition, position)
                self._positions[partition] = assigned[partition] = position
            _log.info(
                "partition.assigned", topic=partition.topic, partition=partition.partition, position=position
            )
        return assigned

    async def batch(self, generation: int, partition: TopicPartition, records: Sequence[Incoming]) -> None:
        """Process and commit records taken in `generation`; those below the position are left out.

        Raises:
            Fatal: another member owns the partition.
            Retryable: the brokers failed; state and position are ahead of the log: start anew.
        """
        async with self._in_hand[partition]:
            position = self._positions.get(partition)
            if position is None or generation != self._generation:
                return
            if records[0].offset < position:
                records = [record for record in records if record.offset >= position]
            if records:
                outputs = await self._handler.process(partition, records)
                next_offset = records[-1].offset + 1
                await self._transactions.commit(partition, outputs, next_offset)
                self._positions[partition] = next_offset

    async def stop(self) -> None:
        """Give everything up and disconnect."""
        await self.revoke(list(self._positions))
        await self._transactions.stop()
