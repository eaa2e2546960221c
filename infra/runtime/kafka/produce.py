"""Publishing outside a transaction: idempotent, and done only when the brokers have acknowledged."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from infra.runtime.kafka import lifecycle
from infra.runtime.kafka.fill import MAX_BATCH_BYTES, MAX_REQUEST_BYTES, send_filled
from infra.runtime.kafka.partitioner import partition_of
from infra.runtime.settings import Settings
from schemas.errors import Retryable
from schemas.record import Coordinates, Outgoing


class Publisher:
    """An idempotent producer with `acks=all`: what it returned from is in the log, once."""

    def __init__(self, settings: Settings, client_id: str = "headrace", *, linger_ms: int = 0) -> None:
        self._prefix = settings.config.topic_prefix
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.endpoints.kafka,
            client_id=client_id,
            acks="all",
            enable_idempotence=True,
            linger_ms=linger_ms,
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
        )

    async def start(self) -> None:
        """Connect to the brokers."""
        await lifecycle.start(self._producer)

    async def stop(self) -> None:
        """Send what is pending and disconnect."""
        await lifecycle.stop(self._producer)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def send(
        self, record: Outgoing, *, headers: Sequence[tuple[str, bytes]] = (), timestamp_ms: int | None = None
    ) -> Coordinates:
        """Publish one record and return its coordinates.

        Raises:
            Retryable: the brokers did not acknowledge it.
        """
        topic = self._prefix + record.topic
        partition = record.partition
        if partition is None:
            partition = partition_of(record.key, len(await self._producer.partitions_for(topic)))
        try:
            metadata = await self._producer.send_and_wait(
                topic,
                record.value,
                key=record.key,
                partition=partition,
                timestamp_ms=timestamp_ms,
                headers=[*record.headers, *headers],
            )
        except KafkaError as error:
            raise Retryable(f"Kafka did not acknowledge a record for {topic}: {error}") from error
        return Coordinates(metadata.topic, metadata.partition, metadata.offset)

    async def send_all(
        self,
        records: Sequence[Outgoing],
        *,
        timestamps_ms: Sequence[int] | None = None,
    ) -> list[Coordinates]:
        """Publish records together and return their coordinates, in order, once all are acknowledged.

        They travel as whole batches, one a partition. `timestamps_ms` has an entry for each record.

        Raises:
            Retryable: at least one was not acknowledged; the others may be in the log.
            Fatal: one is larger than brokers take; none was sent.
        """
        try:
            placed = await send_filled(
                self._producer,
                records,
                self._count,
                prefix=self._prefix,
                timestamps_ms=timestamps_ms,
            )
        except KafkaError as error:
            raise Retryable(f"Kafka did not acknowledge {len(records)} records: {error}") from error
        coordinates = []
        for batch in placed:
            coordinates.append(Coordinates(batch.topic, batch.partition, batch.base))
            batch.base += 1
        return coordinates

    async def _count(self, topic: str) -> int:
        return len(await self._producer.partitions_for(topic))
