"""Records that are processed before their turn: those of urgent streams, while a partition has a backlog.

    log ── done ──┬── urgent ones done, the others not ──┬── not read yet ──▶
               position                                 mark

A partition keeps one committed offset, below which everything is done. Above it lies a mark: up to there the
urgent streams' records are done too. It is committed as the offset's metadata, in the transaction of what was
answered, so that both are always of one log: whoever goes on from there leaves out what was answered ahead. A
stream's own records stay in order: its next one is always taken from the mark on.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple, Protocol, runtime_checkable

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from infra.runtime.kafka import lifecycle
from infra.runtime.settings import Settings
from schemas.errors import Fatal
from schemas.record import Incoming, Outgoing

_MOST_BYTES: Final = 4000
"""Brokers keep 4096 bytes of metadata beside an offset (`offset.metadata.max.bytes`)."""
_FETCH_BYTES: Final = 4 * 1024 * 1024
_PATIENCE_MS: Final = 50
_MOMENT: Final = 64


@runtime_checkable
class Urgent(Protocol):
    """What a handler adds that answers some streams first."""

    @property
    def urgent(self) -> frozenset[str]:
        """Return the streams whose records come first; none where all are alike."""
        ...

    @property
    def brief_rows(self) -> int:
        """Return how many records the others may take at once while something urgent may come."""
        ...

    def stream_of(self, record: Incoming) -> str:
        """Return whose record it is, at little cost: each is asked for twice while there is a backlog."""
        ...

    async def process_ahead(
        self, partition: TopicPartition, records: Sequence[Incoming]
    ) -> Sequence[Outgoing]:
        """Turn urgent records into outputs, as `process` does with all."""
        ...


class Mark(NamedTuple):
    """Up to `to`, the records of `streams` are done."""

    to: int
    streams: frozenset[str]


class _Metadata(msgspec.Struct, frozen=True):
    ahead: int
    streams: list[str]


class Marks:
    """The marks of the partitions that a member owns."""

    def __init__(self, urgent: frozenset[str], stream_of: Callable[[Incoming], str]) -> None:
        """Remember which streams are urgent.

        Raises:
            Fatal: their names are more than fit beside an offset.
        """
        self._urgent = urgent
        self._stream_of = stream_of
        self._marks: dict[TopicPartition, Mark] = {}
        if len(msgspec.json.encode(_Metadata(2**63, sorted(urgent)))) > _MOST_BYTES:
            raise Fatal("the names of the streams of high priority take more than 4000 bytes: shorten them")

    def restore(self, partition: TopicPartition, position: int, metadata: str) -> None:
        """Take over what was committed; metadata of others counts as none."""
        mark = Mark(position, self._urgent)
        try:
            found = msgspec.json.decode(metadata or "null", type=_Metadata | None)
        except msgspec.MsgspecError:
            found = None
        if found is not None and found.ahead > position:
            mark = Mark(found.ahead, frozenset(found.streams))
        self._marks[partition] = mark

    def forget(self, partition: TopicPartition) -> None:
        """Drop a partition that was given up."""
        self._marks.pop(partition, None)

    def to(self, partition: TopicPartition) -> int:
        """Return from where on the urgent streams' records are not done."""
        return self._marks[partition].to

    def moves(self, partition: TopicPartition) -> bool:
        """Tell whether the mark may go on; if others were urgent, the position has to reach it first."""
        return partition in self._marks and self._marks[partition].streams == self._urgent

    def left(self, partition: TopicPartition, records: Sequence[Incoming]) -> Sequence[Incoming]:
        """Return what is to be done of a partition's next records: what was not answered ahead."""
        mark = self._marks[partition]
        if records[0].offset >= mark.to:
            return records
        return [r for r in records if r.offset >= mark.to or self._stream_of(r) not in mark.streams]

    def first(self, partition: TopicPartition, records: Sequence[Incoming]) -> list[Incoming]:
        """Return which of a partition's records beyond the mark are urgent."""
        to = self._marks[partition].to
        return [r for r in records if r.offset >= to and self._stream_of(r) in self._urgent]

    def passed(self, partition: TopicPartition, position: int) -> None:
        """Note that everything below `position` is done."""
        if position >= self._marks[partition].to:
            self._marks[partition] = Mark(position, self._urgent)

    def joins(self, partition: TopicPartition, start: int) -> bool:
        """Tell whether nothing lies between the mark and records that were read from `start` on."""
        return self.moves(partition) and start <= self._marks[partition].to

    def reached(self, partition: TopicPartition, to: int) -> None:
        """Note that the urgent streams' records below `to` are done."""
        mark = self._marks[partition]
        self._marks[partition] = Mark(max(to, mark.to), mark.streams)

    def offset(self, partition: TopicPartition, position: int, to: int = 0) -> OffsetAndMetadata:
        """Return what to commit for a position, with the mark moved to `to`."""
        mark = self._marks[partition]
        to = max(to, mark.to)
        if to <= position:
            return OffsetAndMetadata(position, "")
        beside = msgspec.json.encode(_Metadata(to, sorted(mark.streams)))
        return OffsetAndMetadata(position, beside.decode())


class Taken(NamedTuple):
    """Records of a partition, and from where on they were read: all that lies between is among them."""

    partition: TopicPartition
    start: int
    records: Sequence[Incoming]


class Scout:
    """A consumer that reads from the marks on, outside the group, while there is a backlog."""

    def __init__(self, settings: Settings, group: str) -> None:
        self.on = False
        self._next: dict[TopicPartition, int] = {}
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.endpoints.kafka,
            client_id=f"{group}-ahead",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            fetch_max_wait_ms=50,
            max_partition_fetch_bytes=_FETCH_BYTES,
        )

    @property
    def partitions(self) -> AbstractSet[TopicPartition]:
        """Return what it reads."""
        return self._next.keys() if self.on else frozenset()

    async def start(self) -> None:
        """Connect; it reads nothing yet."""
        await lifecycle.start(self._consumer)

    async def stop(self) -> None:
        """Disconnect."""
        await lifecycle.stop(self._consumer)

    def go(self, marks: Mapping[TopicPartition, int]) -> None:
        """Read these partitions from here on."""
        self._consumer.assign(list(marks))
        for partition, mark in marks.items():
            self._consumer.seek(partition, mark)
        self._next = dict(marks)
        self.on = True

    def rest(self) -> None:
        """Read nothing, until the next `go`."""
        if self.on:
            self._consumer.unsubscribe()
        self.on = False

    async def take(self, most: int) -> list[Taken]:
        """Return what has been fetched meanwhile; where much is left to be read, wait for an answer."""
        wait_ms = 0 if self._caught_up() else _PATIENCE_MS
        found = await self._consumer.getmany(timeout_ms=wait_ms, max_records=most)
        taken = [Taken(tp, self._next[tp], records) for tp, records in found.items() if tp in self._next]
        self._next.update((one.partition, one.records[-1].offset + 1) for one in taken)
        return taken

    def _caught_up(self) -> bool:
        """Tell whether what is left is no more than the records and markers of a moment."""
        ends = {tp: self._consumer.highwater(tp) for tp in self._next}
        return all(end is not None and end - self._next[tp] <= _MOMENT for tp, end in ends.items())


def behind(lags: Iterable[int], round_rows: int) -> bool:
    """Tell whether a backlog is more than the next round takes."""
    return sum(lags) > round_rows
