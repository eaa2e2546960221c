"""Lays records into batch builders: consumes outgoing records, produces one filled batch a partition.

A record that goes through `AIOKafkaProducer.send` costs a future and a turn of the event loop; a builder
takes the same record for a seventh of that. Shared by `Publisher.send_all` and the transactions, so that the
choice of a partition, and what becomes of a record that is too large, are the same on both ways out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder
from headrace_native import Outbox

from infra.runtime.kafka.packed import lay
from infra.runtime.kafka.partitioner import partition_of
from schemas.errors import Fatal
from schemas.outputs import Outputs
from schemas.record import Outgoing

MAX_BATCH_BYTES: Final = 1024 * 1024
"""What a producer that is handed filled batches should have as `max_batch_size`."""

MAX_REQUEST_BYTES: Final = 2 * MAX_BATCH_BYTES
"""What a broker takes at most (`message.max.bytes`), and so the largest record there can be."""

_NO_HEADERS: Final[list[tuple[str, bytes]]] = []  # the builder takes a list, and only reads it


class Filled:
    """A batch for one partition; `base` is its first record's offset once it is acknowledged.

    `builder` is aiokafka's, which has no types, or one of its shape (`PackedBuilder`).
    """

    __slots__ = ("base", "builder", "partition", "topic")

    def __init__(self, topic: str, partition: int, builder: Any) -> None:
        self.topic = topic
        self.partition = partition
        self.builder = builder
        self.base = -1


class Fill:
    """Lays records into batches; `partitions` counts those of each topic (names without the prefix)."""

    def __init__(
        self, create: Callable[[], BatchBuilder], partitions: dict[str, int], *, prefix: str = ""
    ) -> None:
        self._create = create
        self._partitions = partitions
        self._prefix = prefix
        self._by_key: dict[str, dict[bytes | None, int]] = {}
        self._open: dict[str, dict[int, Filled]] = {}
        self.batches: list[Filled] = []

    def add(
        self,
        records: Sequence[Outgoing],
        timestamps_ms: Sequence[int] | None = None,
    ) -> list[Filled]:
        """Lay the records into batches, in order; return the batch that each of them is in.

        A record that is larger than a batch has one of its own.
        """
        placed: list[Filled] = []
        place = placed.append
        last = ""  # the topic in hand: outputs come in runs
        partition_by_key: dict[bytes | None, int] = {}
        open_batches: dict[int, Filled] = {}
        for index, (topic, key, value, chosen, headers) in enumerate(records):
            if topic is not last:
                last = topic
                partition_by_key = self._by_key.setdefault(topic, {})
                open_batches = self._open.setdefault(topic, {})
            partition = chosen
            if partition is None:
                partition = partition_by_key.get(key)
                if partition is None:
                    partition = partition_by_key[key] = partition_of(key, self._partitions[topic])
            batch = open_batches.get(partition)
            if batch is None:
                batch = open_batches[partition] = self._next(topic, partition)
            listed = list(headers) if headers else _NO_HEADERS
            timestamp = None if timestamps_ms is None else timestamps_ms[index]
            if batch.builder.append(timestamp=timestamp, key=key, value=value, headers=listed) is None:
                batch = open_batches[partition] = self._next(topic, partition)
                # an empty builder takes a record of any size
                batch.builder.append(timestamp=timestamp, key=key, value=value, headers=listed)
            place(batch)
        return placed

    def _next(self, topic: str, partition: int) -> Filled:
        batch = Filled(self._prefix + topic, partition, self._create())
        self.batches.append(batch)
        return batch


async def send_filled(
    producer: AIOKafkaProducer,
    records: Sequence[Outgoing],
    count: Callable[[str], Awaitable[int]],
    *,
    prefix: str = "",
    timestamps_ms: Sequence[int] | None = None,
) -> list[Filled]:
    """Send the records as whole batches, and return each one's batch once all are acknowledged.

    Of `Outputs`, those that are packed go out first, and only the others' batches are returned. The
    producer was made with `max_batch_size=MAX_BATCH_BYTES`, and is in a transaction if it is a transactional
    one. `count` returns the number of partitions of a topic (its name with the prefix).

    Raises:
        Fatal: a record is larger than brokers take; nothing was sent.
        KafkaError: a batch was not acknowledged; the others may be in the log.
    """
    batches: list[Filled] = []
    if isinstance(records, Outputs):
        batches, records = await _laid(producer, records.packed, count, prefix), records.others
    partitions = {topic: await count(prefix + topic) for topic in {record.topic for record in records}}
    fill = Fill(producer.create_batch, partitions, prefix=prefix)
    placed = fill.add(records, timestamps_ms)
    batches += fill.batches
    for batch in batches:
        if batch.builder.size() > MAX_REQUEST_BYTES:
            raise Fatal(
                f"a record of {batch.builder.size()} bytes for {batch.topic} is larger than brokers take"
            )
    sent: list[asyncio.Future[Any]] = []
    try:
        for batch in batches:
            sent.append(  # noqa: PERF401  # what was sent before one fails is waited for all the same
                await producer.send_batch(batch.builder, batch.topic, partition=batch.partition)
            )
    except KafkaError:
        await asyncio.gather(*sent, return_exceptions=True)
        raise
    answers = await asyncio.gather(*sent, return_exceptions=True)
    for batch, answer in zip(batches, answers, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        batch.base = answer.offset
    return placed


async def _laid(
    producer: AIOKafkaProducer, outbox: Outbox, count: Callable[[str], Awaitable[int]], prefix: str
) -> list[Filled]:
    if not len(outbox):
        return []
    topic = prefix + outbox.topic
    transactions = producer._txn_manager  # noqa: SLF001  # what its own builders are marked by
    transactional = transactions is not None and transactions.transactional_id is not None
    laid = lay(outbox, await count(topic), MAX_BATCH_BYTES, transactional=transactional)
    return [Filled(topic, packed.partition, packed.builder) for packed in laid]
