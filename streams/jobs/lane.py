"""The cleaning stage of a partition as a Flink function: record batches in, record batches of outputs out.

A lane is what a partition is to the Faust worker: one CleanPipeline for `events.raw` and `events.rekeyed`. It
lives in Python's process; what a batch changed of it goes into Flink's keyed state with the batch. A lane
that Flink has no state of takes over what `dedupe.log` says: it goes on where another engine was stopped.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import structlog
from pyflink.common import Row
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, TimeDomain

from infra.runtime.clock import Clock, SystemClock
from infra.runtime.kafka.partitioner import partition_of
from infra.runtime.settings import Settings
from schemas import topics
from schemas.record import Outgoing
from streams.apps.recovery import restore
from streams.jobs.held import Held
from streams.jobs.options import JobOptions
from streams.jobs.orders import Orders
from streams.jobs.packing import BY_KEY, batches_of, laid
from streams.jobs.pausing import PausingLane
from streams.jobs.state import LaneState, kept_s
from streams.operators.batch import Batch
from streams.operators.copies import Memory
from streams.operators.home import Home
from streams.operators.pipeline import CleanPipeline

_LOOK_MS: Final = 1000
"""So often a lane looks whether what waits in it may go on."""

_GO_ON_MS: Final = 50
"""So soon the next portion of what may go on follows."""

_END_MS: Final = 2**63 - 1
"""The event time of the end of the input. There is no other: sources make no watermarks."""


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

    def __init__(self, options: JobOptions, keys: Sequence[int]) -> None:
        """`keys` are Flink's for the partitions, in their order."""
        self._options = options
        self._partitions = {key: partition for partition, key in enumerate(keys)}

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read the settings and the orders, and open the state."""
        log_through_flink()
        self._settings: Settings = self._options.settings()
        self._clock: Clock = SystemClock()
        self._now = self._clock.now()
        self._home = Home(len(self._partitions), partition_of)
        kept = kept_s(CleanPipeline(self._settings.config.streams))
        self._maps = LaneState.maps(runtime_context, kept)
        self._held = Held.maps(runtime_context)
        self._lanes: dict[int, PausingLane] = {}
        metrics = runtime_context.get_metrics_group()
        self._counters = {name: metrics.counter(name) for name in ("accepted", "duplicates", "rejected")}
        metrics.gauge("held", lambda: sum(lane.held for lane in list(self._lanes.values())))
        self._orders = Orders(self._settings)
        self._orders.open()

    def close(self) -> None:
        """Follow the orders no more."""
        if hasattr(self, "_orders"):  # not if opening failed before
            self._orders.close()

    def process_element(self, value: Any, ctx: Any) -> Iterator[Row]:
        """Clean the records of one batch, `(topic, partition, batch)`, and yield its outputs."""
        topic, partition, fetched = value
        lane = self._lane(partition)
        yield from self._written(lane.take(topic, fetched, self._now, self._orders.paused))
        self._wake(lane, ctx)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Row]:
        """Go on with what waited, or at the end of the input hand it on."""
        lane = self._lane(self._partitions[ctx.get_current_key()])
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from self._written(lane.give_up(self._now))
            return
        yield from self._written(lane.work_off(self._now, self._orders.paused))
        self._wake(lane, ctx)

    def _wake(self, lane: PausingLane, ctx: Any) -> None:
        """Come back to what waits; of timers for one moment Flink keeps one."""
        if not lane.held:
            return
        timers = ctx.timer_service()
        every_ms = _GO_ON_MS if lane.due(self._orders.paused) else _LOOK_MS
        timers.register_processing_time_timer(
            timers.current_processing_time() // every_ms * every_ms + every_ms
        )
        timers.register_event_time_timer(_END_MS)

    def _lane(self, partition: int) -> PausingLane:
        self._now = max(self._now, self._clock.now())
        lane = self._lanes.get(partition)
        if lane is None:
            pipeline = CleanPipeline(self._settings.config.streams, self._home)
            state = LaneState(*self._maps)
            if not state.restore(pipeline, self._now):
                told = _Told(pipeline)
                asyncio.run(restore(self._settings, told, partition, self._now))
                state.remember(told.values, self._now)
            prefix = self._settings.config.topic_prefix
            lane = PausingLane(pipeline, state, Held(*self._held), partition, prefix)
            self._lanes[partition] = lane
        return lane

    def _written(self, batches: Iterable[Batch]) -> Iterator[Row]:
        for batch in batches:
            self._count(batch)
            yield from self._outputs(batch)

    def _outputs(self, batch: Batch) -> Iterator[Row]:
        """Yield a batch's outputs, clean events first and in their order."""
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
