"""Fetched partitions as they come: consumes a broker's answers, produces a `RecordBlock` for each partition.

aiokafka makes a Python object of every record, which costs more than cleaning it does. `carry_blocks` makes a
consumer hand out all that was fetched of a partition as one block, whose records are read where they are
needed. Corrupt, aborted and compressed batches are treated as aiokafka treats them.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import Any, Final

import lz4.frame
import zstandard
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.codec import snappy_decode
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from headrace_native import RecordBlock

_MAX_BYTES: Final = 256 * 1024 * 1024
"""What a batch may be once it is decompressed: brokers bound only what it is before."""


def _gzip(packed: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(packed, _MAX_BYTES + 1)


def _lz4(packed: bytes) -> bytes:
    return bytes(lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=_MAX_BYTES + 1))


def _zstd(packed: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
        return reader.read(_MAX_BYTES + 1)


_CODECS: Final[dict[int, Callable[[bytes], bytes]]] = {1: _gzip, 2: snappy_decode, 3: _lz4, 4: _zstd}


class _Fetched:
    """What was fetched of one partition (in the place of aiokafka's `MemoryRecords`)."""

    def __init__(self, fetched: bytes) -> None:
        self.fetched = bytes(fetched)

    def has_next(self) -> bool:
        return RecordBlock.has_batch(self.fetched)

    def size_in_bytes(self) -> int:
        return len(self.fetched)


class _PartitionBlock:
    """One block (in the place of aiokafka's `PartitionRecords`); `next_fetch_offset` is where to read on."""

    def __init__(
        self,
        place: TopicPartition,
        records: _Fetched,
        aborted_transactions: Sequence[tuple[int, int]] | None,
        fetch_offset: int,
        *_: object,
    ) -> None:
        self._place = place
        self._records = records
        self._aborted = [(producer, first) for producer, first in aborted_transactions or ()]
        self.next_fetch_offset = fetch_offset

    def __iter__(self) -> Iterator[RecordBlock]:
        block = self._block()
        self.next_fetch_offset = block.next_offset
        if len(block):
            yield block

    def _block(self) -> RecordBlock:
        topic, partition = self._place
        try:
            return RecordBlock.parse(
                topic,
                partition,
                self._records.fetched,
                self.next_fetch_offset,
                self._aborted,
                _decompressed,
            )
        except ValueError as error:
            raise CorruptRecordException(f"{topic}[{partition}]: {error}") from error


class _BlockFetcher(fetcher.Fetcher):  # type: ignore[misc]  # aiokafka ships no types
    """Reads answers as aiokafka does, with the two classes above in the places of its own."""

    _proc_fetch_request = FunctionType(
        fetcher.Fetcher._proc_fetch_request.__code__,  # noqa: SLF001  # there is no public seam
        {**vars(fetcher), "MemoryRecords": _Fetched, "PartitionRecords": _PartitionBlock},
        name="_proc_fetch_request",
    )


def carry_blocks(consumer: AIOKafkaConsumer) -> None:
    """Make a started consumer of `read_committed` records hand out one block a partition, in a list."""
    consumer._fetcher.__class__ = _BlockFetcher  # noqa: SLF001  # its constructor starts fetching


def since(records: Sequence[Any], offset: int) -> Sequence[Any]:
    """Return those of a partition's records that lie at `offset` or behind it."""
    if isinstance(records, RecordBlock):
        return records.since(offset)
    return [record for record in records if record.offset >= offset]


def _decompressed(codec: int, packed: bytes) -> bytes:
    decode = _CODECS.get(codec)
    if decode is None:
        raise ValueError(f"compression {codec} is not known")
    try:
        plain = bytes(decode(packed))
    except Exception as error:  # each library raises its own
        raise ValueError(f"a compressed batch cannot be read: {error}") from error
    if len(plain) > _MAX_BYTES:
        raise ValueError(f"a batch is larger than {_MAX_BYTES} bytes when it is decompressed")
    return plain
