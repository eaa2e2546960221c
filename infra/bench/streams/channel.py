"""The topics of one measurement: consumes events to publish, produces what came out.

The timed events are published in one Kafka transaction, so that readers of committed data see all of them at
one moment, the commit: publishing costs no engine any time, and none can begin early.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from infra.bench.streams.events import Event, expected_time
from infra.runtime.kafka import lifecycle
from schemas import topics
from schemas.errors import Retryable

_BATCH_BYTES: Final = 128 * 1024
_TRANSACTION_TIMEOUT_MS: Final = 300_000
_CHECK_TIME_OF_EVERY: Final = 101
_EMPTY_AFTER_MS: Final = 250


class _Seen(msgspec.Struct, gc=False):
    """What is read of an output to check it."""

    id: str
    time: datetime


_decode = msgspec.json.Decoder(_Seen).decode


@dataclass(frozen=True)
class Names:
    """The topics of one measurement; `prefix` is Headrace's `topic_prefix`."""

    prefix: str
    partitions: int

    @property
    def input(self) -> str:
        """Return the name of the topic that the engine reads."""
        return self.prefix + topics.RAW.name

    @property
    def output(self) -> str:
        """Return the name of the topic that the engine writes."""
        return self.prefix + topics.CLEAN.name

    @property
    def group(self) -> str:
        """Return a name for the engine's consumer group and transactions."""
        return self.prefix + "job"


async def create(kafka: str, names: Names) -> None:
    """Create the topics: the broker stamps outputs when it appends them, whoever produces them.

    Headrace's other topics by partition (its changelog among them) must have as many as its input has.

    Raises:
        Retryable: the broker refused a topic.
    """
    stamped = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(2 * 1024 * 1024)}
    plain = {"max.message.bytes": str(2 * 1024 * 1024)}
    alike = [topic.name for topic in topics.TOPICS if topic.partitions == topics.RAW.partitions]
    wanted = {names.prefix + name: plain for name in alike} | {names.input: plain, names.output: stamped}
    async with lifecycle.connected(AIOKafkaAdminClient(bootstrap_servers=kafka)) as admin:
        response = await admin.create_topics(
            [NewTopic(name, names.partitions, 1, topic_configs=config) for name, config in wanted.items()]
        )
    for name, code, message, *_ in response.topic_errors:
        if code:
            raise Retryable(f"Kafka refused to create topic {name}: {message}")


async def remove(kafka: str, names: Names) -> None:
    """Delete every topic of a measurement, those that the engine made included."""
    async with lifecycle.connected(AIOKafkaAdminClient(bootstrap_servers=kafka)) as admin:
        ours = [name for name in await admin.list_topics() if names.prefix in name]
        await admin.delete_topics(ours)


async def publish(kafka: str, topic: str, spread: Sequence[Sequence[Event]]) -> float:
    """Publish events, given by partition, in one transaction; return the commit's moment (epoch seconds)."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka,
        transactional_id=f"{topic}-publisher",
        transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
        max_batch_size=_BATCH_BYTES,
        max_request_size=8 * _BATCH_BYTES,
        linger_ms=0,
    )
    async with lifecycle.connected(producer):
        await producer.begin_transaction()
        await asyncio.gather(
            *(_fill(producer, topic, partition, events) for partition, events in enumerate(spread))
        )
        await producer.flush()
        visible_at = time.time()
        await producer.commit_transaction()
    return visible_at


async def _fill(producer: AIOKafkaProducer, topic: str, partition: int, events: Iterable[Event]) -> None:
    builder = producer.create_batch()
    sent: list[asyncio.Future[Any]] = []
    for event in events:
        if builder.append(key=event.key, value=event.value, timestamp=None) is None:
            sent.append(await producer.send_batch(builder, topic, partition=partition))
            builder = producer.create_batch()
            builder.append(key=event.key, value=event.value, timestamp=None)
    sent.append(await producer.send_batch(builder, topic, partition=partition))
    await asyncio.gather(*sent)


class Outputs:
    """What readers of committed data see on the output topic: how far it reaches, and what it holds."""

    def __init__(self, kafka: str, names: Names, started: datetime) -> None:
        self._partitions = [TopicPartition(names.output, number) for number in range(names.partitions)]
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka,
            group_id=None,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
        self._started = started
        self.ids: set[str] = set()
        self.records = 0
        self.wrong = 0
        self.last_append_s = 0.0

    async def __aenter__(self) -> Self:
        await lifecycle.start(self._consumer)
        self._consumer.assign(self._partitions)
        return self

    async def __aexit__(self, *_: object) -> None:
        await lifecycle.stop(self._consumer)

    @property
    def doubled(self) -> int:
        """Return how many records repeat an event that was read before."""
        return self.records - len(self.ids)

    async def reach(self) -> int:
        """Return the sum of the partitions' last stable offsets: it rises when outputs become visible."""
        ends: dict[TopicPartition, int] = await self._consumer.end_offsets(self._partitions)
        return sum(ends.values())

    async def drain(self) -> None:
        """Read and check what became visible since the last call."""
        while fetched := await self._consumer.getmany(timeout_ms=_EMPTY_AFTER_MS, max_records=20_000):
            for records in fetched.values():
                self._check(records)

    def _check(self, records: Sequence[Any]) -> None:
        for record in records:
            try:
                seen = _decode(record.value)
            except msgspec.DecodeError:
                self.wrong += 1
                continue
            self.ids.add(seen.id)
            self.records += 1
            if self.records % _CHECK_TIME_OF_EVERY == 0:
                self.wrong += seen.time != expected_time(seen.id, self._started)
        self.last_append_s = max(self.last_append_s, records[-1].timestamp / 1000)
