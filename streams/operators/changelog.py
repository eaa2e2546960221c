"""The changelog of what is remembered: fingerprints added per batch out to `dedupe.log`, and back at a start.

A record is a MessagePack array of entries `(name, bucket_s, bucket, packed)`: a memory's name, the length of
its time buckets in seconds, the bucket, and the fingerprints that were added in it.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from schemas import topics
from schemas.record import Outgoing
from streams.operators.copies import Memory
from streams.operators.fingerprints import FINGERPRINT_BYTES

MAX_PACKED_BYTES: Final = 32_768 * FINGERPRINT_BYTES
"""Most fingerprints in one record, in bytes."""

_Entry = tuple[str, float, int, bytes]


def added(memories: Mapping[str, Memory], partition: int) -> Iterator[Outgoing]:
    """Yield what was newly remembered since the last call, in records of bounded size."""
    entries: list[_Entry] = []
    size = 0
    for name, memory in memories.items():
        bucket, packed = memory.delta()
        for at in range(0, len(packed), MAX_PACKED_BYTES):
            part = packed[at : at + MAX_PACKED_BYTES]
            if entries and size + len(part) > MAX_PACKED_BYTES:
                yield _record(entries, partition)
                entries, size = [], 0
            entries.append((name, memory.bucket_s, bucket, part))
            size += len(part)
    if entries:
        yield _record(entries, partition)


def restore(memories: Mapping[str, Memory], values: Iterable[bytes]) -> int:
    """Take in values of one partition of the changelog, oldest first; return how many fingerprints.

    Names that are not remembered any more are left out.
    """
    deltas: dict[str, list[tuple[float, int, bytes]]] = {}
    for value in values:
        for name, bucket_s, bucket, packed in msgspec.msgpack.decode(value, type=list[_Entry]):
            deltas.setdefault(name, []).append((bucket_s, bucket, packed))
    return sum(memories[name].restore(found) for name, found in deltas.items() if name in memories)


def _record(entries: list[_Entry], partition: int) -> Outgoing:
    return Outgoing(topics.DEDUPE_LOG.name, None, msgspec.msgpack.encode(entries), partition)
