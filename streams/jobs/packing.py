"""What crosses between Flink and Python: record batches (Kafka's message format v2), read and written.

A hop between the JVM and Python costs more than cleaning an event does, whatever the event; so some thousands
make one. The format is Kafka's own, which the native part reads without making an object of any record.
Source: https://kafka.apache.org/documentation/#recordbatch
"""

from collections.abc import Iterator, Sequence
from typing import Final, NoReturn

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from headrace_native import Outbox, RecordBlock

from schemas.record import Incoming, Outgoing

BATCH_BYTES: Final = 1024 * 1024
"""Most bytes of a batch, if it has more than one record."""

BY_KEY: Final = -1
"""Instead of a partition: the producer chooses by the key's hash."""

_MAGIC: Final = 2
_NOBODY: Final = -1
_UNCOMPRESSED: Final = 0
_BASE_OFFSET_BYTES: Final = 8


def read(topic: str, partition: int, batch: bytes) -> RecordBlock:
    """Return the records of a batch.

    Raises:
        ValueError: it is damaged.
    """
    return RecordBlock.parse(topic, partition, batch, 0, (), _refuse)


def batch_of(records: Sequence[Incoming]) -> bytes:
    """Return records of one partition as a batch, with their offsets and times."""
    base = records[0].offset
    builder = _builder(2**31 - 1)
    for record in records:
        builder.append(record.offset - base, record.timestamp, record.key, record.value, list(record.headers))
    batch = builder.build()
    batch[:_BASE_OFFSET_BYTES] = base.to_bytes(_BASE_OFFSET_BYTES, "big")  # the checksum begins behind it
    return bytes(batch)


def batches_of(records: Sequence[Outgoing]) -> Iterator[tuple[int, bytes]]:
    """Yield records of one topic as batches, each with its partition, or `BY_KEY`.

    The order of a partition's records stays.
    """
    by_partition: dict[int, list[Outgoing]] = {}
    for record in records:
        by_partition.setdefault(BY_KEY if record.partition is None else record.partition, []).append(record)
    for partition, together in by_partition.items():
        builder, held = _builder(BATCH_BYTES), 0
        for record in together:
            fields = (0, record.key, record.value, list(record.headers))
            if builder.append(held, *fields) is None:  # full
                yield partition, bytes(builder.build())
                builder, held = _builder(BATCH_BYTES), 0
                builder.append(held, *fields)
            held += 1
        yield partition, bytes(builder.build())


def laid(outbox: Outbox) -> Iterator[bytes]:
    """Yield an outbox's records as batches, in their order."""
    for batch in outbox.lay(1, BATCH_BYTES, 0):
        yield batch.sealed(_NOBODY, _NOBODY, _NOBODY, False)  # a built function


def _builder(limit: int) -> DefaultRecordBatchBuilder:
    return DefaultRecordBatchBuilder(_MAGIC, _UNCOMPRESSED, 0, _NOBODY, _NOBODY, _NOBODY, limit)


def _refuse(codec: int, _: bytes) -> NoReturn:
    raise ValueError(f"a record batch is compressed by {codec}; between Flink and Python none is")
