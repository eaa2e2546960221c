"""Record batches read natively: the same records as aiokafka reads, and never a crash on damaged bytes."""

import itertools
from collections.abc import Sequence

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from headrace_native import RecordBlock
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.runtime.kafka import blocks
from infra.runtime.kafka.blocks import _decompressed, since
from streams.engines.memory import MemoryRecord

PLACE = TopicPartition("events.raw", 3)
_bytes = st.one_of(st.none(), st.binary(max_size=40))
_headers = st.lists(st.tuples(st.text(max_size=5), _bytes), max_size=3)
_record = st.tuples(_bytes, _bytes, _headers)
_batch = st.tuples(
    st.lists(_record, min_size=1, max_size=5), st.sampled_from([0, 1, 2, 3, 4]), st.sampled_from([-1, 7, 8])
)


def built(
    base: int,
    records: Sequence[tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]],
    codec: int = 0,
    producer: int = -1,
) -> bytes:
    """Return a record batch as a broker keeps it; a producer's is part of a transaction."""
    builder = DefaultRecordBatchBuilder(2, codec, int(producer >= 0), producer, 0, 0, 1 << 20)
    for at, (key, value, headers) in enumerate(records):
        builder.append(at, 1_773_480_413_000 + at * 7, key, value, list(headers))
    return base.to_bytes(8, "big") + bytes(builder.build())[8:]


def marker(base: int, producer: int, *, commit: bool) -> bytes:
    """Return a control batch that ends a producer's transaction."""
    batch = bytearray(built(base, [(b"\0\0\0" + bytes([commit]), b"\0\0\0\0\0\0", [])], 0, producer))
    batch[22] |= 0x20
    return sealed(batch)


def sealed(batch: bytearray) -> bytes:
    """Return a batch with its right checksum."""
    from aiokafka.record._crc32c import crc

    batch[17:21] = crc(bytes(batch[21:])).to_bytes(4, "big")
    return bytes(batch)


def told(records: Sequence[object]) -> list[tuple[object, ...]]:
    """Return what operators read of records."""
    fields = ("topic", "partition", "offset", "timestamp", "key", "value")
    return [
        (*(getattr(record, field) for field in fields), tuple(map(tuple, record.headers)))  # type: ignore[attr-defined]
        for record in records
    ]


def parse(fetched: bytes, offset: int = 0, aborted: Sequence[tuple[int, int]] = ()) -> RecordBlock:
    """Read what was fetched."""
    return RecordBlock.parse(PLACE.topic, PLACE.partition, fetched, offset, list(aborted), _decompressed)


@settings(max_examples=300)
@given(st.lists(_batch, max_size=5), st.data())
def test_blocks_read_what_aiokafka_reads(batches, data):
    """Keys, values, headers, times and offsets, whatever the compression, without aborted batches."""
    offset = data.draw(st.integers(0, len(batches[0][0]) - 1)) if batches else 0  # brokers send its batch
    fetched, base, aborted = b"", 0, []
    for records, codec, producer in batches:
        fetched += built(base, records, codec, producer)
        first, base = base, base + len(records)
        if producer >= 0:
            commit = data.draw(st.booleans())
            fetched += marker(base, producer, commit=commit)
            base += 1
            if not commit:
                aborted.append((producer, first))
    reference = PartitionRecords(
        PLACE, MemoryRecords(fetched), aborted, offset, None, None, True, READ_COMMITTED
    )
    expected = told(list(reference))
    block = parse(fetched, offset, aborted)
    assert told(block) == expected
    assert block.next_offset == max(offset, reference.next_fetch_offset)
    assert told(RecordBlock.of(list(block))) == expected


@settings(max_examples=300)
@given(st.lists(_batch, min_size=1, max_size=2), st.data())
def test_damaged_bytes_are_an_error_or_less(batches, data):
    """Flipped bytes under a right checksum give records or ValueError, never anything else."""
    bases = itertools.accumulate((len(records) for records, _, _ in batches), initial=0)
    whole = b"".join(built(base, r, c, p) for (r, c, p), base in zip(batches, bases, strict=False))
    damaged = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    if len(batches) == 1:
        damaged = bytearray(sealed(damaged))
    try:
        told(parse(bytes(damaged)))
    except ValueError:
        return
    assert RecordBlock.has_batch(bytes(damaged)) or not list(parse(bytes(damaged)))


def test_a_wrong_checksum_is_an_error():
    """A batch that was changed on the way is not read."""
    batch = bytearray(built(0, [(b"k", b"value", [])]))
    batch[-3] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        parse(bytes(batch))


def test_a_cut_off_batch_is_left_for_the_next_fetch():
    """Brokers cut at the size that was asked for."""
    one, two = built(0, [(b"a", b"1", [])]), built(1, [(b"b", b"2", [])])
    block = parse(one + two[:-1])
    assert [record.key for record in block] == [b"a"]
    assert block.next_offset == 1
    assert not RecordBlock.has_batch(two[:-1])


def test_blocks_are_sequences():
    """Indices from both ends, slices, and the records from an offset on."""
    records = [
        MemoryRecord(PLACE.topic, PLACE.partition, at, 5, None, b"%d" % at, (("h", b"x"),))
        for at in range(10, 20)
    ]
    block = RecordBlock.of(records)
    assert RecordBlock.of(block) is block
    assert (len(block), block[0].offset, block[-1].offset, block.next_offset) == (10, 10, 19, 20)
    assert [record.offset for record in block[3:5]] == [13, 14]
    assert told(block[8:]) == told(records[8:])
    assert [record.offset for record in since(block, 17)] == [17, 18, 19]
    assert since(records, 17) == records[7:]
    assert len(since(block, 99)) == 0
    for index in (10, -11):
        with pytest.raises(IndexError):
            block[index]
    with pytest.raises(ValueError, match="step"):
        block[::2]


def test_an_unknown_compression_is_an_error():
    """Of what comes with a codec from the future the number is named."""
    batch = bytearray(built(0, [(b"k", b"v", [])]))
    batch[22] |= 0x06
    with pytest.raises(ValueError, match="compression 6"):
        parse(sealed(batch))


@pytest.mark.parametrize("codec", [1, 3, 4])
def test_a_batch_that_explodes_is_an_error(codec, monkeypatch):
    """What is small on the wire may not take all the memory there is."""
    monkeypatch.setattr(blocks, "_MAX_BYTES", 100_000)
    batch = built(0, [(b"k", b"\0" * 200_000, [])], codec)
    assert len(batch) < 5_000
    with pytest.raises(ValueError, match="larger than 100000 bytes"):
        parse(batch)
