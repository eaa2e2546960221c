"""Event-time windows and drift as a Flink job: the watched topics in, `alerts.drift` out.

    Kafka ─▶ gathered in record batches ─▶ split, by stream: DriftWatch, its state in RocksDB ─▶ Kafka

The watches are those of the drift worker, one a stream, so as many tasks work as there are streams. Exactly
once: offsets, the watches and their alerts belong to one checkpoint. Without a savepoint it begins an hour
back, as the worker does, and knows what was said from the topic. Not beside a `drift` worker that watches.
"""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, Final

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, RuntimeContext

from infra.runtime.clock import Clock, SystemClock
from infra.runtime.kafka.admin import create_topics
from infra.runtime.settings import Settings
from schemas import topics
from schemas.codec import encode, stream_of
from schemas.drift import DriftAlert
from schemas.record import Incoming, Outgoing
from streams.drift.feed import WATCHED, WatchFeed
from streams.drift.fingerprint import fingerprint
from streams.drift.log import remind, written_alerts
from streams.drift.watch import DriftWatch
from streams.jobs.clean import environment
from streams.jobs.ends import Place, gathered, write, written_type
from streams.jobs.lane import log_through_flink
from streams.jobs.options import JobOptions, options, parser
from streams.jobs.packing import batch_of, batches_of
from streams.jobs.packing import read as unpacked
from streams.jobs.watch_state import Run, WatchState, take

NAME: Final = "headrace-windows"
GROUP: Final = "headrace-windows"
_LOOK_BACK: Final = timedelta(hours=1)
_TICK_MS: Final = 1000


def main(argv: Sequence[str] | None = None) -> None:
    """Submit the job.

    Raises:
        Fatal: the configuration is wrong.
    """
    submit(options(parser(__doc__ or "", GROUP).parse_args(argv)), SystemClock())


def submit(told: JobOptions, clock: Clock) -> None:
    """Build the job and hand it to the cluster."""
    settings = told.settings()
    asyncio.run(create_topics(settings))
    made = environment(told, NAME)
    begin = Place(at_ms=int((clock.now() - _LOOK_BACK).timestamp() * 1000))
    read = [settings.topic(topic) for topic in WATCHED]
    fields = [Types.STRING(), Types.STRING(), Types.INT(), Types.PRIMITIVE_ARRAY(Types.BYTE())]
    raised = (
        gathered(made, told, read, begin)
        .flat_map(by_streams, output_type=Types.TUPLE(fields))
        .key_by(lambda run: run[0], key_type=Types.STRING())
        .process(WatchLane(told), output_type=written_type())
        .name("watch")
        .uid("watch")
    )
    write(raised, told)
    made.execute_async(NAME)


def by_streams(gathered_batch: Any) -> Iterator[tuple[str, str, int, bytes]]:
    """Split a partition's batch, `(lane, (topic, partition, batch))`, by stream; records of none go."""
    _, (topic, partition, batch) = gathered_batch
    found: dict[str, list[Incoming]] = {}
    for record in unpacked(topic, partition, batch):
        if name := stream_of(record.value):
            found.setdefault(name, []).append(record)
    for name, records in found.items():
        yield name, topic, partition, batch_of(records)


class WatchLane(KeyedProcessFunction):  # type: ignore[misc]  # PyFlink has no types
    """Watches the streams that Flink gives this task. State is made on the worker."""

    def __init__(self, options: JobOptions) -> None:
        self._options = options

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read the settings and open the state."""
        log_through_flink()
        self._settings: Settings = self._options.settings()
        self._clock: Clock = SystemClock()
        self._now_s = self._clock.now().timestamp()
        self._maps = WatchState.maps(runtime_context)
        self._watches: dict[str, tuple[DriftWatch, WatchFeed, WatchState]] = {}
        metrics = runtime_context.get_metrics_group()
        self._raised, self._unknown = metrics.counter("alerts"), metrics.counter("unknown_streams")

    def process_element(self, value: Any, ctx: Any) -> Iterator[Row]:
        """Let the stream's watch take one batch, and yield the alerts to write."""
        stream, topic, partition, batch = value
        if stream not in self._settings.config.streams:
            self._unknown.inc(1)
            return
        new = stream not in self._watches
        yield from self._taken(stream, Run(topic, partition, bytes(batch)))
        if new and self._settings.config.streams[stream].drift.quality.silence:
            self._next_tick(ctx)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Row]:
        """Look for sources that stopped sending."""
        yield from self._taken(ctx.get_current_key(), None)
        self._next_tick(ctx)

    def _next_tick(self, ctx: Any) -> None:
        """Wake at the next whole second: of timers for one moment Flink keeps one."""
        now_ms = ctx.timer_service().current_processing_time()
        ctx.timer_service().register_processing_time_timer(now_ms // _TICK_MS * _TICK_MS + _TICK_MS)

    def _taken(self, stream: str, run: Run | None) -> Iterator[Row]:
        watch, feed, state = self._watch(stream)
        self._now_s = max(self._now_s, self._clock.now().timestamp())
        alerts: Sequence[DriftAlert] = take(watch, feed, self._now_s, run)
        state.remember(watch, self._now_s, run)
        if alerts:
            self._raised.inc(len(alerts))
            name = topics.ALERTS.name
            records = [Outgoing(name, alert.stream.encode(), encode(alert)) for alert in alerts]
            for partition, batch in batches_of(records):
                yield Row(self._settings.topic(topics.ALERTS), partition, batch)

    def _watch(self, stream: str) -> tuple[DriftWatch, WatchFeed, WatchState]:
        found = self._watches.get(stream)
        if found is None:
            config = self._settings.config.streams[stream]
            watch = DriftWatch(stream, config)
            feed = WatchFeed(watch, self._settings.config.topic_prefix)
            state = WatchState(*self._maps, fingerprint(config))
            if not state.restore(watch, feed):
                remind(watch, asyncio.run(written_alerts(self._settings)))
                state.begin(watch)
            found = self._watches[stream] = (watch, feed, state)
        return found


if __name__ == "__main__":
    main()
