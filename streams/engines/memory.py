"""The in-memory engine: partitions as lists, the specification that the other engines are compared with.

Consumes events handed to `publish`, produces what each topic would hold, with the coordinates it would have.
Partition p of `events.raw` and of `events.rekeyed` share one pipeline, and their batches follow one another.
Used by the tests, by the trainer's bootstrap and wherever events are cleaned without a broker.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from zlib import crc32

from schemas import topics
from schemas.config import Stream
from schemas.record import Outgoing
from streams.operators.batch import Batch
from streams.operators.home import Home, PartitionOf
from streams.operators.pipeline import CleanPipeline

INPUTS: Final = (topics.RAW, topics.REKEYED)


class MemoryRecord(NamedTuple):
    """A record as a partition holds it; has the shape of `schemas.record.Incoming`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


def _crc32_of(key: bytes, partitions: int) -> int:
    return crc32(key) % partitions


class MemoryEngine:
    """The cleaning stage over partitions in memory, with positions and a changelog as Kafka has them.

    `partition_of` is the publishers' hash of a key.

    Example:
        >>> from schemas.config import Stream
        >>> engine = MemoryEngine({"logs": Stream(kind="log")})
        >>> engine.publish(b"not json", key=b"web-1", timestamp_ms=0).offset
        0
    """

    def __init__(
        self,
        streams: Mapping[str, Stream],
        *,
        partitions: int = topics.RAW.partitions,
        partition_of: PartitionOf = _crc32_of,
    ) -> None:
        self._streams = streams
        self._partitions = partitions
        self._partition_of = partition_of
        self._home = Home(partitions, partition_of)
        self._log: dict[tuple[str, int], list[MemoryRecord]] = {}
        self._positions: dict[tuple[str, int], int] = {}
        self._pipelines = self._new_pipelines()

    def publish(
        self,
        value: bytes | None,
        *,
        key: bytes | None = None,
        timestamp_ms: int,
        headers: Sequence[tuple[str, bytes]] = (),
        partition: int | None = None,
    ) -> MemoryRecord:
        """Append one record to `events.raw`; keys are spread over the partitions by their hash."""
        at = self._partition(key) if partition is None else partition
        return self._append(topics.RAW.name, at, key, value, timestamp_ms, headers)

    def run(self, now: datetime, *, max_records: int = 2000) -> list[Batch]:
        """Process everything published and not yet processed, in batches of at most `max_records`."""
        batches = []
        for topic in INPUTS:  # what is forwarded is in its partition once the first topic's are done
            for partition in range(self._partitions):
                while (batch := self.step(topic, partition, now, max_records=max_records)) is not None:
                    batches.append(batch)
        return batches

    def step(
        self,
        topic: topics.Topic,
        partition: int,
        now: datetime,
        *,
        max_records: int = 2000,
        commit: bool = True,
    ) -> Batch | None:
        """Process one batch of one partition, None if there is nothing to process.

        Without `commit` it ends as by a kill before its transaction: what was computed is lost, and `crash`
        must follow.
        """
        place = (topic.name, partition)
        log, at = self._log.get(place, []), self._positions.get(place, 0)
        records = log[at : at + max_records]
        if not records:
            return None
        batch = self._pipelines[partition].process(records, now, rekeyed=topic is topics.REKEYED)
        if commit:
            self._commit(place, batch.outgoing, at + len(records), now)
        return batch

    def crash(self, now: datetime) -> None:
        """Forget every pipeline's state, and rebuild it from the changelog as a restarted worker does."""
        self._pipelines = self._new_pipelines()
        for partition, pipeline in enumerate(self._pipelines):
            log = self._log.get((topics.DEDUPE_LOG.name, partition), [])
            pipeline.restore([record.value for record in log if record.value is not None], now)

    def records(self, topic: topics.Topic) -> list[MemoryRecord]:
        """Return what a topic holds, partition by partition."""
        return [record for at in range(self._partitions) for record in self._log.get((topic.name, at), [])]

    def _new_pipelines(self) -> list[CleanPipeline]:
        return [CleanPipeline(self._streams, self._home) for _ in range(self._partitions)]

    def _commit(
        self, place: tuple[str, int], outgoing: Iterable[Outgoing], position: int, now: datetime
    ) -> None:
        """Take over outputs and position together, as one transaction does."""
        for record in outgoing:
            at = self._partition(record.key) if record.partition is None else record.partition
            now_ms = int(now.timestamp() * 1000)
            self._append(record.topic, at, record.key, record.value, now_ms, record.headers)
        self._positions[place] = position

    def _partition(self, key: bytes | None) -> int:
        return 0 if key is None else self._partition_of(key, self._partitions)

    def _append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int,
        headers: Sequence[tuple[str, bytes]],
    ) -> MemoryRecord:
        log = self._log.setdefault((topic, partition), [])
        record = MemoryRecord(topic, partition, len(log), timestamp_ms, key, value, headers)
        log.append(record)
        return record
