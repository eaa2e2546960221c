"""Where the copies of an event meet, and the record that carries them there."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.runtime.kafka.partitioner import partition_of
from schemas import topics
from schemas.errors import Reason, Rejected
from streams.engines.memory import MemoryRecord
from streams.operators.carried import MAX_CARRIED_BYTES, Original
from streams.operators.dedupe import fingerprint
from streams.operators.home import HEADER, Home, forwarded, original

HEADERS = st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=8)), max_size=3).map(tuple)


def raw(value: bytes, **changes: Any) -> MemoryRecord:
    """Make a record of `events.raw`."""
    return MemoryRecord("t.events.raw", 1, 7, 1_773_480_413_000, b"any", value)._replace(**changes)


@given(st.binary(min_size=1), st.none() | st.binary(), HEADERS, st.integers(0, 2**62), st.integers(0, 2**40))
def test_a_forwarded_record_comes_back_as_it_lay(value, key, headers, offset, timestamp):
    """Value, key, headers, place and time survive the way; on it the key is the source."""
    record = raw(value, key=key, headers=headers, offset=offset, timestamp=timestamp)
    out = forwarded(record, "shop/1", 3)
    assert (out.topic, out.key, out.partition) == (topics.REKEYED.name, b"shop/1", 3)
    carried = MemoryRecord("t.events.rekeyed", 3, 0, 0, out.key, out.value, out.headers)
    found = original(carried)
    assert all(getattr(found, name) == getattr(record, name) for name in Original._fields)


def test_a_publishers_own_header_of_that_name_is_kept():
    """Only the last header is ours: one that a publisher forged travels on as it is."""
    forged = ((HEADER, b'["events.raw",0,0,0,null]'),)
    out = forwarded(raw(b"{}", headers=forged), "s", 0)
    back = original(MemoryRecord("t.events.rekeyed", 0, 0, 0, out.key, out.value, out.headers))
    assert (back.offset, back.headers) == (7, forged)


@given(HEADERS | st.binary(max_size=40).map(lambda value: ((HEADER, value),)))
def test_what_nobody_forwarded_is_taken_as_it_is(headers):
    """A record that somebody wrote to `events.rekeyed` keeps its own coordinates, and stops nothing."""
    record = MemoryRecord("t.events.rekeyed", 0, 5, 0, None, b"{}", headers)
    assert original(record) is record


def test_what_is_too_large_to_be_forwarded_is_rejected_not_fatal():
    """Headers count: a batch of a producer must hold all of it."""
    for record in (
        raw(b"x" * (MAX_CARRIED_BYTES + 1)),
        raw(b"x", headers=(("trace", b"x" * MAX_CARRIED_BYTES),)),
        raw(b"x", key=b"x" * MAX_CARRIED_BYTES),
    ):
        with pytest.raises(Rejected) as refused:
            forwarded(record, "s", 0)
        assert refused.value.reason is Reason.OVERSIZED


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20), st.integers(1, 12))
def test_the_home_is_a_matter_of_identity_alone(source, event_id, partitions):
    """By source it is the partition to which Kafka clients send that key; by identity always the same."""
    home = Home(partitions, partition_of)
    key = fingerprint(source, event_id)
    by_source = partition_of(source.encode(), partitions)
    for met in range(partitions):
        assert home.of("auto", source, key, met) == by_source
        assert home.of("never", source, key, met) == met
    homes = {home.of("always", source, key, met) for met in range(partitions)}
    assert len(homes) == 1
    assert homes <= set(range(partitions))


def test_always_spreads_one_source_evenly():
    """Ten thousand events of one source lie on four partitions, none far from a quarter."""
    home = Home(4, partition_of)
    counts = [0] * 4
    for number in range(10_000):
        counts[home.of("always", "huge", fingerprint("huge", str(number)), 0)] += 1
    assert min(counts) > 2300


def test_sources_remembered_are_bounded():
    """The memory of homes is emptied before it holds more than its bound, and answers stay right."""
    home = Home(4, lambda key, partitions: len(key) % partitions)
    for number in range(140_000):
        source = str(number)
        assert home.of("auto", source, b"", 0) == len(source) % 4
    assert len(home._of_source) <= 131_072
