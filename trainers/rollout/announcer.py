"""Writes the end of a trial: several records in one transaction, by one writer.

All of it becomes visible, or nothing: a crash leaves no version rolled back without a word, and no word of a
rollback that was not. Starting fences a former writer and aborts what it left open.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerFenced

from infra.runtime.kafka import lifecycle
from infra.runtime.settings import Settings
from schemas.errors import Fatal, Retryable
from schemas.record import Outgoing


class Announcer:
    """A transactional producer of records for several topics."""

    def __init__(self, settings: Settings) -> None:
        self._prefix = settings.config.topic_prefix
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.endpoints.kafka,
            client_id="headrace-rollout",
            transactional_id=f"{self._prefix}rollout",
            acks="all",
        )

    async def __aenter__(self) -> Self:
        try:
            await lifecycle.start(self._producer)
        except BaseException:
            await lifecycle.stop(self._producer)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await lifecycle.stop(self._producer)

    async def write(self, records: Sequence[Outgoing]) -> None:
        """Write records as one.

        Raises:
            Fatal: another trainer has taken over.
            Retryable: Kafka failed; nothing of it is visible, or all of it is.
        """
        try:
            async with self._producer.transaction():
                for record in records:
                    await self._producer.send(self._prefix + record.topic, record.value, key=record.key)
        except ProducerFenced as error:
            raise Fatal("another trainer runs on this installation; stop one of them") from error
        except KafkaError as error:
            raise Retryable(f"the end of a trial could not be written: {error}") from error
