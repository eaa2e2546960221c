"""Keys go to the partitions that every other Kafka client would choose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.runtime.kafka.partitioner import partition_of

JAVA_MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "expected"), JAVA_MURMUR2.items())
def test_the_partition_is_that_of_the_java_client(key: bytes, expected: int) -> None:
    """The published murmur2 vectors of Kafka's own test suite choose the partition."""
    assert partition_of(key, 7) == (expected & 0x7FFFFFFF) % 7


@given(st.binary(max_size=64), st.integers(1, 1000))
def test_the_partition_exists(key: bytes, partitions: int) -> None:
    """Any key has a partition within range, and always the same."""
    assert 0 <= partition_of(key, partitions) < partitions
    assert partition_of(key, partitions) == partition_of(key, partitions)


def test_a_record_without_key_goes_to_the_first_partition() -> None:
    """No key, no hash."""
    assert partition_of(None, 5) == 0
