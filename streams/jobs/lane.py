"""The cleaning stage of a partition as a Flink function: packed runs of records in, packed outputs out.

A lane is what a partition is to the Faust worker: one CleanPipeline for `events.raw` and `events.rekeyed`. It
lives in Python's process; what a batch changed of it goes into Flink's keyed state with the batch. A lane
that Flink has no state of takes over what `dedupe.log` says: it goes on where another engine was stopped.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from pyflink.common import Row, RowKind, TypeInformation, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext

from infra.runtime.clock import Clock, SystemClock
from infra.runtime.kafka.partitioner import partition_of
from infra.runtime.settings import Settings
from schemas import topics
from schemas.record import Outgoing
from streams.apps.recovery import restore
from streams.jobs.lanes import partition_keys
from streams.jobs.options import JobOptions
from streams.jobs.packing import unpack
from streams.jobs.state import LaneState, kept_s
from streams.operators.batch import Batch
from streams.operators.copies import Memory
from streams.operators.home import Home
from streams.operators.pipeline import CleanPipeline

RECORDS_AT_ONCE: Final = 4096
"""Most records that Python hands back at once: about 2 MB."""


class Written:
    """A record as Flink's coder of rows reads it: to make its own Row takes longer than cleaning."""

    __slots__ = ("_fields",)

    def __init__(self, key: bytes | None, value: bytes, headers: dict[str, bytes] | None = None) -> None:
        self._fields = [key, value, headers]

    def get_fields_by_names(self, names: Sequence[str]) -> list[Any]:
        """Return the fields, in the order of `written_type`."""
        return self._fields

    def get_row_kind(self) -> Any:
        """Return that records are only added."""
        return RowKind.INSERT


class _Told:
    """Hears what a pipeline restores from the log (`streams.apps.recovery.Restorable`)."""

    def __init__(self, pipeline: CleanPipeline) -> None:
        self._pipeline = pipeline
        self.values: list[bytes] = []

    @property
    def memories(self) -> Mapping[str, Memory]:
        return self._pipeline.memories

    def restore(self, values: Sequence[bytes], now: datetime) -> int:
        self.values.extend(values)
        return self._pipeline.restore(values, now)


class CleanLane(KeyedProcessFunction):  # type: ignore[misc]  # PyFlink has no types
    """Cleans the runs of the partitions that Flink gives this task. State is made on the worker."""

    def __init__(self, options: JobOptions, partitions: int) -> None:
        self._options = options
        self._partitions = partitions

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read the settings and open the state."""
        log_through_flink()
        self._settings: Settings = self._options.settings()
        self._clock: Clock = SystemClock()
        self._now = self._clock.now()
        self._home = Home(self._partitions, partition_of)
        self._keys = partition_keys(self._partitions, partition_of)
        kept = kept_s(CleanPipeline(self._settings.config.streams))
        self._maps = LaneState.maps(runtime_context, kept)
        self._rekeyed = self._settings.topic(topics.REKEYED)
        self._lanes: dict[int, tuple[CleanPipeline, LaneState]] = {}
        metrics = runtime_context.get_metrics_group()
        self._counters = {name: metrics.counter(name) for name in ("accepted", "duplicates", "rejected")}

    def process_element(self, value: Any, ctx: Any) -> Iterator[Row]:
        """Clean one run of records, `(partition, blob)`, and yield its outputs."""
        partition, blob = value
        self._now = max(self._now, self._clock.now())
        pipeline, state = self._lane(partition)
        records = unpack(blob)
        batch = pipeline.process(records, self._now, rekeyed=records[0].topic == self._rekeyed)
        changes = [record.value for record in batch.outgoing.others if record.topic == topics.DEDUPE_LOG.name]
        state.remember(changes, self._now)
        state.keep(pipeline, batch.by_stream)
        self._count(batch)
        yield from self._packed(batch)

    def _lane(self, partition: int) -> tuple[CleanPipeline, LaneState]:
        lane = self._lanes.get(partition)
        if lane is None:
            pipeline = CleanPipeline(self._settings.config.streams, self._home)
            state = LaneState(*self._maps)
            if not state.restore(pipeline, self._now):
                told = _Told(pipeline)
                asyncio.run(restore(self._settings, told, partition, self._now))
                state.remember(told.values, self._now)
            lane = self._lanes[partition] = (pipeline, state)
        return lane

    def _packed(self, batch: Batch) -> Iterator[Row]:
        """Yield `(topic, records)`, clean events first and in their order."""
        packed = batch.outgoing.packed
        clean = [Written(*packed[at]) for at in range(len(packed))]
        for at in range(0, len(clean), RECORDS_AT_ONCE):
            yield Row(self._settings.topic(topics.CLEAN), clean[at : at + RECORDS_AT_ONCE])
        by_topic: dict[str, list[Written]] = {}
        for record in batch.outgoing.others:
            by_topic.setdefault(record.topic, []).append(self._written(record))
        for topic, records in by_topic.items():
            yield Row(self._settings.config.topic_prefix + topic, records)

    def _written(self, record: Outgoing) -> Written:
        """Return a record whose key leads to its partition: the sink knows no other way to say it."""
        key, partition = record.key, record.partition
        if partition is not None and (key is None or partition_of(key, self._partitions) != partition):
            key = self._keys[partition]
        return Written(key, record.value, dict(record.headers) or None)

    def _count(self, batch: Batch) -> None:
        self._counters["accepted"].inc(batch.accepted)
        self._counters["duplicates"].inc(batch.duplicates)
        self._counters["rejected"].inc(batch.rejected.total())


def written_type() -> TypeInformation:
    """Return the type of what a lane yields: a topic, and its records as key, value and headers."""
    packed = Types.PRIMITIVE_ARRAY(Types.BYTE())
    record = Types.ROW_NAMED(["key", "value", "headers"], [packed, packed, Types.MAP(Types.STRING(), packed)])
    return Types.ROW_NAMED(["topic", "records"], [Types.STRING(), Types.OBJECT_ARRAY(record)])


def log_through_flink() -> None:
    """Leave the logs to the standard library's root, whose handler is Flink's, as is `print`."""
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.processors.JSONRenderer()],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def outputs(prefix: str) -> list[str]:
    """Return the names of the topics that a lane writes to."""
    written: Iterable[topics.Topic] = (
        topics.CLEAN,
        topics.DEAD,
        topics.COPIES,
        topics.REKEYED,
        topics.DEDUPE_LOG,
    )
    return [prefix + topic.name for topic in written]
