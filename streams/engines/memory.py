"""The in-memory engine: partitions as lists, the specification that the other engines are compared with.

Consumes events handed to `publish`, produces what each topic would hold, with the coordinates it would have.
Used by the tests, by the trainer's bootstrap and wherever events are cleaned without a broker.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from zlib import crc32

from schemas import topics
from schemas.config import Stream
from schemas.record import Outgoing
from streams.operators.pipeline import Batch, CleanPipeline


class MemoryRecord(NamedTuple):
    """A record as a partition holds it; has the shape of `schemas.record.Incoming`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class MemoryEngine:
    """The cleaning stage over partitions in memory, with positions and a changelog as Kafka has them.

    Example:
        >>> from schemas.config import Stream
        >>> engine = MemoryEngine({"logs": Stream(kind="log")})
        >>> engine.publish(b"not json", key=b"web-1", timestamp_ms=0).offset
        0
    """

    def __init__(self, streams: Mapping[str, Stream], *, partitions: int = topics.RAW.partitions) -> None:
        self._streams = streams
        self._partitions = partitions
        self._log: dict[tuple[str, int], list[MemoryRecord]] = {}
        self._positions = [0] * partitions
        self._pipelines = [CleanPipeline(streams) for _ in range(partitions)]

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
        for partition, pipeline in enumerate(self._pipelines):
            log = self._log.get((topics.RAW.name, partition), [])
            while self._positions[partition] < len(log):
                at = self._positions[partition]
                batch = pipeline.process(log[at : at + max_records], now)
                self._commit(partition, batch.outgoing, min(at + max_records, len(log)), now)
                batches.append(batch)
        return batches

    def crash(self, now: datetime) -> None:
        """Forget every pipeline's state, and rebuild it from the changelog as a restarted worker does."""
        self._pipelines = [CleanPipeline(self._streams) for _ in range(self._partitions)]
        for partition, pipeline in enumerate(self._pipelines):
            log = self._log.get((topics.DEDUPE_LOG.name, partition), [])
            pipeline.restore([record.value for record in log if record.value is not None], now)

    def records(self, topic: topics.Topic) -> list[MemoryRecord]:
        """Return what a topic holds, partition by partition."""
        return [record for at in range(self._partitions) for record in self._log.get((topic.name, at), [])]

    def _commit(self, partition: int, outgoing: Iterable[Outgoing], position: int, now: datetime) -> None:
        """Take over outputs and position together, as one transaction does."""
        for record in outgoing:
            at = self._partition(record.key) if record.partition is None else record.partition
            self._append(record.topic, at, record.key, record.value, int(now.timestamp() * 1000), ())
        self._positions[partition] = position

    def _partition(self, key: bytes | None) -> int:
        return crc32(key or b"") % self._partitions

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
