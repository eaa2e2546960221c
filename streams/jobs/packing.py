"""Packs what Flink reads record by record: consumes columns of records, produces one blob a partition's run.

A hop between the JVM and Python costs more than cleaning an event does, whatever the event. So records go to
Python in Arrow batches, are packed there, and reach the operators as one Flink record for some thousands.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from streams.operators.home import HEADER

Headers = tuple[tuple[str, bytes], ...]
HeaderMap = Iterable[tuple[str, bytes | None]]
Blob = tuple[int, bytes]


class PackedRecord(NamedTuple):
    """A record of a blob; has the shape of `schemas.record.Incoming`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class Columns(NamedTuple):
    """Records as columns of equal length; `timestamps` in milliseconds since 1970."""

    topics: Sequence[str]
    partitions: Sequence[int]
    offsets: Sequence[int]
    timestamps: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[HeaderMap | None]


_Run = tuple[str, int, list[tuple[int, int, bytes | None, bytes | None, Headers]]]
_encode: Final = msgspec.msgpack.Encoder().encode
_DECODER: Final = msgspec.msgpack.Decoder(_Run)


def pack(columns: Columns) -> list[bytes | None]:
    """Return one blob for each topic and partition, in the row of its last record; None in all other rows."""
    runs: dict[tuple[str, int], list[tuple[int, int, bytes | None, bytes | None, Headers]]] = {}
    last: dict[tuple[str, int], int] = {}
    for row, (topic, partition, *record, headers) in enumerate(zip(*columns, strict=True)):
        place = (topic, partition)
        run = runs.get(place)
        if run is None:
            run = runs[place] = []
        run.append((*record, _ordered(headers) if headers else ()))
        last[place] = row
    packed: list[bytes | None] = [None] * len(columns.offsets)
    for place, row in last.items():
        packed[row] = _encode((*place, runs[place]))
    return packed


def repack(records: Sequence[PackedRecord]) -> bytes:
    """Return a blob of records of one partition."""
    first = records[0]
    return _encode((first.topic, first.partition, [record[2:] for record in records]))


def unpack(blob: bytes) -> list[PackedRecord]:
    """Return the records of a blob, all of one partition, in their order."""
    topic, partition, records = _DECODER.decode(blob)
    return [PackedRecord(topic, partition, *record) for record in records]


def _ordered(headers: HeaderMap) -> Headers:
    """Return headers as a record has them; Flink hands out a map, in which the forwarder's is not last."""
    plain: Iterator[tuple[str, bytes]] = ((name, value or b"") for name, value in headers)
    return tuple(sorted(plain, key=lambda header: header[0] == HEADER))
