"""Exactly once, Kafka to Kafka: outputs and input offsets of a batch in one transaction.

There is one `transactional_id` per group and lane: an input partition, or several that are processed together
and named by the first. Starting its producer on assignment fences whoever owned the lane before and completes
or aborts what that owner left open; only then are the committed offsets read, so they cannot be old ones. A
fenced owner fails at its next commit and stops.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, ProducerFenced
from aiokafka.structs import OffsetAndMetadata

from infra.runtime.kafka import lifecycle
from infra.runtime.kafka.fill import MAX_BATCH_BYTES, send_filled
from infra.runtime.settings import Settings
from schemas.errors import Fatal, Retryable
from schemas.record import Outgoing

Offset: TypeAlias = "int | OffsetAndMetadata"


class Transactions:
    """The transactional producers of the lanes that one member of a group owns."""

    def __init__(self, settings: Settings, group: str) -> None:
        self._bootstrap = settings.endpoints.kafka
        self._prefix = settings.config.topic_prefix
        self._group = self._prefix + group
        self._producers: dict[TopicPartition, AIOKafkaProducer] = {}
        self._partitions: dict[str, int] = {}
        self.metadata: dict[TopicPartition, str] = {}
        self._admin: AIOKafkaAdminClient | None = None

    async def take_over(
        self, lane: TopicPartition, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Fence the lane's former owner; return each partition's offset to go on from, 0 if there is none.

        What was committed beside the offset is in `metadata` then.
        """
        await self.release(lane)
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            client_id=f"{self._group}-{lane.topic}-{lane.partition}",
            transactional_id=f"{self._group}/{lane.topic}/{lane.partition}",
            acks="all",
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=2 * MAX_BATCH_BYTES,
            linger_ms=0,
        )
        self._producers[lane] = producer
        await lifecycle.start(producer)
        admin = await self._connected()
        committed = await admin.list_consumer_group_offsets(self._group, partitions=list(partitions))
        self.metadata.update((partition, committed[partition].metadata or "") for partition in partitions)
        return {partition: max(0, int(committed[partition].offset)) for partition in partitions}

    async def commit(
        self, lane: TopicPartition, outputs: Sequence[Outgoing], offsets: Mapping[TopicPartition, Offset]
    ) -> None:
        """Write the outputs and the next input offsets as one: all become visible, or none.

        Raises:
            Fatal: another worker owns the lane now; this one must not go on.
            Retryable: the brokers failed; nothing of the batch is visible.
        """
        producer = self._producers[lane]
        place = f"{lane.topic}[{lane.partition}]"
        try:
            async with producer.transaction():
                await self._send(producer, outputs)
                await producer.send_offsets_to_transaction(dict(offsets), self._group)
        except ProducerFenced as error:
            raise Fatal(f"{place} was taken over by another worker") from error
        except KafkaError as error:
            raise Retryable(f"the transaction on {place} failed: {error}") from error

    async def release(self, lane: TopicPartition) -> None:
        """Give a lane up; its producer is stopped."""
        producer = self._producers.pop(lane, None)
        if producer is not None:
            await lifecycle.stop(producer)

    async def stop(self) -> None:
        """Give every lane up and disconnect."""
        for lane in list(self._producers):
            await self.release(lane)
        if self._admin is not None:
            await lifecycle.stop(self._admin)
            self._admin = None

    async def _connected(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            self._admin = AIOKafkaAdminClient(
                bootstrap_servers=self._bootstrap, client_id=f"{self._group}-offsets"
            )
            await lifecycle.start(self._admin)
        return self._admin

    async def _send(self, producer: AIOKafkaProducer, outputs: Sequence[Outgoing]) -> None:
        """Send whole batches, and wait until they are acknowledged."""

        async def count(topic: str) -> int:
            return self._partitions.get(topic) or await self._count(producer, topic)

        if outputs:
            await send_filled(producer, outputs, count, prefix=self._prefix)

    async def _count(self, producer: AIOKafkaProducer, topic: str) -> int:
        self._partitions[topic] = count = len(await producer.partitions_for(topic))
        return count
