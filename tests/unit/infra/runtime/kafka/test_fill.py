"""Filling batches: order, partitions, overflow, and large records."""

from aiokafka.producer.message_accumulator import BatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from infra.runtime.kafka.fill import Fill
from infra.runtime.kafka.partitioner import partition_of
from schemas.record import Outgoing

SMALL_BYTES = 2048


def builder() -> BatchBuilder:
    """Make an empty builder of the producer's own kind."""
    return BatchBuilder(SMALL_BYTES, 0)


RECORDS = st.lists(
    st.builds(
        Outgoing,
        topic=st.sampled_from(["a", "b"]),
        key=st.one_of(st.none(), st.binary(min_size=1, max_size=3)),
        value=st.binary(min_size=1, max_size=400),
        partition=st.one_of(st.none(), st.integers(0, 2)),
    ),
    max_size=60,
)


@given(RECORDS)
def test_every_record_has_its_place(records):
    """Each record is in a batch of its own topic and partition, and a batch holds what was placed in it."""
    fill = Fill(builder, {"a": 3, "b": 5}, prefix="p.")
    placed = fill.add(records)
    assert len(placed) == len(records)
    for record, batch in zip(records, placed, strict=True):
        count = {"a": 3, "b": 5}[record.topic]
        wanted = partition_of(record.key, count) if record.partition is None else record.partition
        assert (batch.topic, batch.partition) == ("p." + record.topic, wanted)
    for batch in fill.batches:
        assert batch.builder.record_count() == sum(one is batch for one in placed)


def test_a_full_batch_is_followed_by_another():
    """Records of one partition stay in order over as many batches as they need."""
    fill = Fill(builder, {"a": 1})
    placed = fill.add([Outgoing("a", b"k", b"x" * 500) for _ in range(10)])
    numbers = [fill.batches.index(batch) for batch in placed]
    assert numbers == sorted(numbers)
    assert len(fill.batches) > 2


def test_a_record_larger_than_a_batch_has_one_of_its_own():
    """What is larger than a batch usually is may still be smaller than what brokers take."""
    fill = Fill(builder, {"a": 1})
    placed = fill.add([Outgoing("a", None, b"x" * size) for size in (10, 5000, 10)])
    assert [fill.batches.index(batch) for batch in placed] == [0, 1, 2]
    assert fill.batches[1].builder.record_count() == 1


def test_headers_and_timestamps_are_taken():
    """Both make the batch what it would be record by record."""
    fill = Fill(builder, {"a": 1})
    plain = Fill(builder, {"a": 1})
    fill.add([Outgoing("a", b"k", b"v", None, [("ce_id", b"1" * 50)])], [1_700_000_000_000])
    plain.add([Outgoing("a", b"k", b"v")], [1_700_000_000_000])
    assert fill.batches[0].builder.size() > plain.batches[0].builder.size() + 50
