"""Rows for ClickHouse: spliced bytes, valid JSON, contracts checked."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.codec import encode
from schemas.errors import Rejected
from schemas.examples import CONTRACTS
from schemas.label import Label
from streams.engines.memory import MemoryRecord
from streams.sink.rows import TABLES, TOPICS, arrival_day, encode_rows, validate


def test_every_contract_topic_has_a_table():
    """No topic with a contract is forgotten that is to be stored."""
    assert set(TABLES) == {topic.name for topic in topics.TOPICS if topic.contract and topic.stored}


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_rows_carry_their_coordinates(topic):
    """Each row is the record's own JSON with four columns in front."""
    value = encode(CONTRACTS[topic.contract])
    records = [
        MemoryRecord("p." + topic.name, 3, offset, 1_773_480_413_000, None, b" " + value) for offset in (8, 9)
    ]
    first, second = (msgspec.json.decode(row) for row in encode_rows(records).split(b"\n"))
    assert first == {
        "_topic": "p." + topic.name,
        "_partition": 3,
        "_offset": 8,
        "_arrived": "2026-03-14",
        **msgspec.json.decode(value),
    }
    assert second["_offset"] == 9


def test_contracts_are_checked():
    """A record that does not keep its contract is refused, whoever wrote it."""
    validate(MemoryRecord("labels", 0, 0, 0, None, encode(CONTRACTS[Label])), topics.LABELS)
    for value in (b"{}", b"", None, b'{"stream":1}', encode(CONTRACTS[Label]) + b"{}"):
        with pytest.raises(Rejected):
            validate(MemoryRecord("labels", 0, 0, 0, None, value), topics.LABELS)


@given(st.integers(-(2**62), 2**62))
def test_any_timestamp_has_a_day(timestamp_ms):
    """Kafka timestamps are any 64-bit number; the day is one that ClickHouse can hold."""
    assert 1970 <= arrival_day(timestamp_ms).year <= 2149
