"""Outputs laid into record batches: what brokers and aiokafka read of them."""

import pytest
from aiokafka.record.memory_records import MemoryRecords
from headrace_native import Outbox
from hypothesis import given
from hypothesis import strategies as st

from infra.runtime.kafka.packed import lay
from infra.runtime.kafka.partitioner import partition_of

_pairs = st.lists(st.tuples(st.binary(max_size=30), st.binary(max_size=200)), max_size=60)


def outbox(pairs: list[tuple[bytes, bytes]]) -> Outbox:
    """Return an outbox with these keys and values."""
    box = Outbox("events.clean")
    for key, value in pairs:
        box.append(key, value)
    return box


@given(_pairs, st.integers(1, 9), st.sampled_from([200, 1000, 1 << 20]))
def test_every_record_is_in_its_partitions_batches_in_order(pairs, partitions, limit):
    """Batches are of format 2, hold the limit where a record does, and come back as what was put in."""
    laid = outbox(pairs).lay(partitions, limit, 1_773_480_413_000)
    found: dict[int, list[tuple[bytes | None, bytes | None]]] = {}
    for batch in laid:
        sealed = batch.sealed(12, 3, 40, True)
        assert len(sealed) == batch.size
        assert batch.size <= limit or batch.count == 1
        memory = MemoryRecords(sealed)
        read = memory.next_batch()
        assert read is not None
        assert read.validate_crc() and read.is_transactional and not read.is_control_batch
        assert (read.producer_id, read.base_offset, read.next_offset) == (12, 0, batch.count)
        records = list(read)
        assert len(records) == batch.count
        assert [record.offset for record in records] == list(range(batch.count))
        assert {record.timestamp for record in records} == {1_773_480_413_000}
        found.setdefault(batch.partition, []).extend((record.key, record.value) for record in records)
        assert not memory.has_next()
    expected: dict[int, list[tuple[bytes, bytes]]] = {}
    for key, value in pairs:
        expected.setdefault(partition_of(key, partitions), []).append((key, value))
    assert found == expected


def test_a_builder_seals_once():
    """A batch that is sent again keeps its sequence number, as idempotence demands."""
    (packed,) = lay(outbox([(b"k", b"v")]), 1, 1000, transactional=False)
    builder = packed.builder
    assert builder.closed() and builder.record_count() == 1
    builder._set_producer_state(1, 0, 10)
    first = builder._build()
    builder._set_producer_state(1, 0, 11)
    builder.close()
    assert builder._build() is first
    assert len(first) == builder.size()
    read = MemoryRecords(first).next_batch()
    assert read is not None and not read.is_transactional


def test_an_outbox_is_read_by_index():
    """Beyond the last record is an IndexError."""
    box = outbox([(b"a", b"1"), (b"", b"")])
    assert (len(box), box[0], box[1], box.topic) == (2, (b"a", b"1"), (b"", b""), "events.clean")
    with pytest.raises(IndexError):
        box[2]
