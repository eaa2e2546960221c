"""The cleaning stage of a partition as a Flink function: record batches in, record batches of outputs out.

A lane is what a partition is to the Faust worker: one CleanPipeline for `events.raw` and `events.rekeyed`. It
lives in Python's process; what a batch changed of it goes into Flink's keyed state with the batch. A lane
that Flink has no state of takes over what `dedupe.log` says: it goes on where another engine was stopped.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from pyflink.common import Row
from pyflink.datastream import KeyedProcessFunction, RuntimeContext

from infra.runtime.clock import Clock, SystemClock
from infra.runtime.kafka.partitioner import partition_of
from infra.runtime.settings import Settings
from schemas import topics
from schemas.record import Outgoing
from streams.apps.recovery import restore
from streams.jobs.options import JobOptions
from streams.jobs.packing import BY_KEY, batches_of, laid, read
from streams.jobs.state import LaneState, kept_s
from streams.operators.batch import Batch
from streams.operators.copies import Memory
from streams.operators.home import Home
from streams.operators.pipeline import CleanPipeline


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
        kept = kept_s(CleanPipeline(self._settings.config.streams))
        self._maps = LaneState.maps(runtime_context, kept)
        self._rekeyed = self._settings.topic(topics.REKEYED)
        self._lanes: dict[int, tuple[CleanPipeline, LaneState]] = {}
        metrics = runtime_context.get_metrics_group()
        self._counters = {name: metrics.counter(name) for name in ("accepted", "duplicates", "rejected")}

    def process_element(self, value: Any, ctx: Any) -> Iterator[Row]:
        """Clean the records of one batch, `(topic, partition, batch)`, and yield its outputs."""
        topic, partition, fetched = value
        self._now = max(self._now, self._clock.now())
        pipeline, state = self._lane(partition)
        records = read(topic, partition, fetched)
        batch = pipeline.process(records, self._now, rekeyed=topic == self._rekeyed)
        changes = [record.value for record in batch.outgoing.others if record.topic == topics.DEDUPE_LOG.name]
        state.remember(changes, self._now)
        state.keep(pipeline, batch.by_stream)
        self._count(batch)
        yield from self._written(batch)

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

    def _written(self, batch: Batch) -> Iterator[Row]:
        """Yield the outputs, clean events first and in their order."""
        for clean in laid(batch.outgoing.packed):
            yield Row(self._settings.topic(topics.CLEAN), BY_KEY, clean)
        by_topic: dict[str, list[Outgoing]] = {}
        for record in batch.outgoing.others:
            by_topic.setdefault(record.topic, []).append(record)
        for topic, records in by_topic.items():
            for partition, packed in batches_of(records):
                yield Row(self._settings.config.topic_prefix + topic, partition, packed)

    def _count(self, batch: Batch) -> None:
        self._counters["accepted"].inc(batch.accepted)
        self._counters["duplicates"].inc(batch.duplicates)
        self._counters["rejected"].inc(batch.rejected.total())


def log_through_flink() -> None:
    """Leave the logs to the standard library's root, whose handler is Flink's, as is `print`."""
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.processors.JSONRenderer()],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
