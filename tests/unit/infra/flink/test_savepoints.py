"""What a savepoint says of a Kafka source's positions."""

import struct

import pytest
from aiokafka import TopicPartition

from infra.flink.errors import FlinkError
from infra.flink.savepoints import decoded, source_positions


def _split(topic: str, partition: int, offset: int, version: int = 0) -> bytes:
    """Return a split as the connector writes it, with what Flink puts before it."""
    name = topic.encode()
    body = struct.pack(">h", len(name)) + name + struct.pack(">iqq", partition, offset, -(2**63))
    framed = struct.pack(">ii", version, len(body)) + body
    return struct.pack(">i", len(framed)) + framed


def test_a_split_names_its_partition_and_next_offset():
    """Also one of which nothing was read yet, whose offset is a sign of where to begin."""
    assert decoded(_split("a.events.raw", 7, 2**40)) == (TopicPartition("a.events.raw", 7), 2**40)
    assert decoded(_split("events.raw", 0, -3))[1] == -3


def test_another_form_is_refused():
    """Positions that are read wrongly would lose events."""
    with pytest.raises(FlinkError, match="version 1"):
        decoded(_split("events.raw", 0, 1, version=1))


def test_a_savepoint_that_is_not_there_is_told():
    """The message names it."""
    with pytest.raises(FlinkError, match="/nowhere/savepoint-1"):
        source_positions("file:/nowhere/savepoint-1")
