"""Which partition a key belongs to: murmur2 as in every Kafka client, remembered for keys seen before."""

from functools import lru_cache
from typing import Final

from aiokafka.partitioner import murmur2

_POSITIVE: Final = 0x7FFFFFFF


@lru_cache(maxsize=65536)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & _POSITIVE


def partition_of(key: bytes | None, partitions: int) -> int:
    """Return the partition of a key among `partitions`; records without a key go to partition 0."""
    return 0 if key is None else _hash(key) % partitions
