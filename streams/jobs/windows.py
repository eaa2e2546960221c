"""Event-time windows and drift as a Flink job: the watched topics in, `alerts.drift` out.

    Kafka ─▶ packed in Arrow batches ─▶ split and keyed by stream: DriftWatch, its state in RocksDB ─▶ Kafka

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
from pyflink.table import DataTypes, StreamTableEnvironment, TableResult
from pyflink.table.udf import udf

from infra.runtime.clock import Clock, SystemClock
from infra.runtime.kafka.admin import create_topics
from infra.runtime.settings import Settings
from schemas import topics
from schemas.codec import encode, stream_of
from schemas.drift import DriftAlert
from streams.drift.feed import WATCHED, WatchFeed
from streams.drift.fingerprint import fingerprint
from streams.drift.log import remind, written_alerts
from streams.drift.watch import DriftWatch
from streams.jobs import tables
from streams.jobs.clean import environment, packed
from streams.jobs.lane import Written, log_through_flink, written_type
from streams.jobs.options import JobOptions, options, parser
from streams.jobs.packing import repack, unpack
from streams.jobs.watch_state import WatchState, take

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


def submit(told: JobOptions, clock: Clock) -> TableResult:
    """Build the job and hand it to the cluster."""
    settings = told.settings()
    asyncio.run(create_topics(settings))
    table_environment = StreamTableEnvironment.create(environment(told, NAME))
    table_environment.get_config().set("table.local-time-zone", "UTC")
    begin_ms = int((clock.now() - _LOOK_BACK).timestamp() * 1000)
    scan = {"scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": str(begin_ms)}
    read = [settings.topic(topic) for topic in WATCHED]
    alerts = [settings.topic(topics.ALERTS)]
    table_environment.execute_sql(tables.source(told.bootstrap, read, told.group, scan))
    table_environment.execute_sql(tables.sink(told.bootstrap, alerts, told.transactional_prefix))
    packer = udf(packed, result_type=DataTypes.BYTES(), func_type="pandas")
    table_environment.create_temporary_function("pack", packer)
    runs = table_environment.to_data_stream(table_environment.sql_query(tables.PACKED))
    by_stream = Types.TUPLE([Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())])
    raised = (
        runs.flat_map(by_streams, output_type=by_stream)
        .key_by(lambda run: run[0], key_type=Types.STRING())
        .process(WatchLane(told), output_type=written_type())
        .name("watch")
        .uid("watch")
    )
    table_environment.create_temporary_view("written", table_environment.from_data_stream(raised))
    return table_environment.execute_sql(tables.unpacked(alerts))


def by_streams(run: Any) -> Iterator[tuple[str, bytes]]:
    """Split a partition's run, `(partition, blob)`, into those of its streams; records of none go."""
    found: dict[str, list[Any]] = {}
    for record in unpack(run[1]):
        if name := stream_of(record.value):
            found.setdefault(name, []).append(record)
    for name, records in found.items():
        yield name, repack(records)


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
        """Let the stream's watch take one run, and yield the alerts to write."""
        stream, blob = value
        if stream not in self._settings.config.streams:
            self._unknown.inc(1)
            return
        new = stream not in self._watches
        yield from self._taken(stream, bytes(blob))
        if new and self._settings.config.streams[stream].drift.quality.silence:
            self._next_tick(ctx)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Row]:
        """Look for sources that stopped sending."""
        yield from self._taken(ctx.get_current_key(), b"")
        self._next_tick(ctx)

    def _next_tick(self, ctx: Any) -> None:
        """Wake at the next whole second: of timers for one moment Flink keeps one."""
        now_ms = ctx.timer_service().current_processing_time()
        ctx.timer_service().register_processing_time_timer(now_ms // _TICK_MS * _TICK_MS + _TICK_MS)

    def _taken(self, stream: str, blob: bytes) -> Iterator[Row]:
        watch, feed, state = self._watch(stream)
        self._now_s = max(self._now_s, self._clock.now().timestamp())
        alerts: Sequence[DriftAlert] = take(watch, feed, self._now_s, blob)
        state.remember(watch, self._now_s, blob)
        if alerts:
            self._raised.inc(len(alerts))
            records = [Written(alert.stream.encode(), encode(alert)) for alert in alerts]
            yield Row(self._settings.topic(topics.ALERTS), records)

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
