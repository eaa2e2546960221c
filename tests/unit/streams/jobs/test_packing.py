"""Record batches between Flink and Python: what goes in comes out, as Kafka's own format has it."""

from collections.abc import Sequence
from typing import Any

import pytest
from headrace_native import Outbox
from hypothesis import given
from hypothesis import strategies as st

from schemas.record import Outgoing
from streams.jobs.packing import BATCH_BYTES, BY_KEY, batch_of, batches_of, laid, read
from streams.operators.carried import Original

_BYTES = st.none() | st.binary(max_size=8)
_HEADERS = st.lists(st.tuples(st.text(max_size=4), st.binary(max_size=4)), max_size=3).map(tuple)
_FIRST = st.integers(0, 2**62)
_RECORD = st.tuples(st.integers(1, 1000), st.integers(0, 2**50), _BYTES, _BYTES, _HEADERS)
_OUTGOING = st.builds(
    Outgoing,
    st.just("events.dead"),
    _BYTES,
    st.binary(max_size=8),
    st.none() | st.integers(0, 3),
    _HEADERS,
)


def _fields(records: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, r.headers) for r in records]


@given(_FIRST, st.lists(_RECORD, min_size=1, max_size=20))
def test_every_record_comes_back_as_it_was(first: int, drawn: list[tuple[Any, ...]]):
    """Offsets with gaps, times, null keys and values, headers of one name: all in their order."""
    records, offset = [], first
    for gap, *fields in drawn:
        records.append(Original("events.raw", 2, offset, *fields))
        offset += gap
    assert _fields(read("events.raw", 2, batch_of(records))) == _fields(records)


@given(st.lists(_OUTGOING, max_size=20))
def test_outputs_stay_in_their_partitions_order(records: list[Outgoing]):
    """One batch a partition, as long as it holds them; none for no records."""
    found = list(batches_of(records))
    places = [BY_KEY if record.partition is None else record.partition for record in records]
    assert sorted(partition for partition, _ in found) == sorted(set(places))
    for partition, batch in found:
        wanted = [record for record, place in zip(records, places, strict=True) if place == partition]
        held = [(r.key, r.value, r.headers) for r in read("events.dead", 0, batch)]
        assert held == [(r.key, r.value, r.headers) for r in wanted]


def test_a_batch_is_bounded_and_a_large_record_has_its_own():
    """Some large records make several batches; one above the bound goes alone and whole."""
    sizes = [400_000, 400_000, 400_000, BATCH_BYTES + 1, 10]
    records = [Outgoing("events.dead", None, bytes(size), 1) for size in sizes]
    held = [[len(r.value or b"") for r in read("t", 0, batch)] for _, batch in batches_of(records)]
    assert held == [[400_000, 400_000], [400_000], [BATCH_BYTES + 1], [10]]


def test_an_outbox_is_laid_in_order():
    """Keys and values as they were added, over as many batches as it takes."""
    outbox = Outbox("events.clean")
    pairs = [(b"k%d" % number, bytes(300_000)) for number in range(9)]
    for pair in pairs:
        outbox.append(*pair)
    batches = list(laid(outbox))
    assert len(batches) == 3
    assert [(r.key, r.value) for batch in batches for r in read("t", 0, batch)] == pairs


def test_damage_is_told():
    """The checksum is Kafka's: a bit that fell over does not pass."""
    batch = bytearray(batch_of([Original("t", 0, 5, 0, b"k", b"value")]))
    batch[-3] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        read("t", 0, bytes(batch))
