"""The `streams` worker: consumes `events.raw`, produces `events.clean`, `events.dead` and `dedupe.log`.

One CleanPipeline per partition number, for `events.raw`, for what came to another partition than its home and
was forwarded on `events.rekeyed`, and for what waited on `events.parked` while its stream was paused; its
dedupe state comes back from that partition of `dedupe.log`.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NoReturn

from aiokafka import TopicPartition

from infra.runtime import metrics
from infra.runtime.clock import Clock, SystemClock
from infra.runtime.control import Controls, Valve
from infra.runtime.hot import hot_of
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import partitions_of
from infra.runtime.kafka.partitioner import partition_of
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas import topics
from schemas.config import Headrace, Stream
from schemas.control import Stage
from schemas.errors import Fatal, Retryable
from schemas.record import Incoming, Outgoing
from streams.apps.recovery import SnapshotKeeper, restore
from streams.operators.batch import Batch
from streams.operators.home import Home
from streams.operators.park import Pauses, epoch_of
from streams.operators.pipeline import CleanPipeline

if TYPE_CHECKING:
    from streams.engines.faust import BatchApp

GROUP = "headrace-streams"
_TRIES: Final = 50
_AGAIN_S: Final = 0.1

_log = get_logger(__name__)


class CleanHandler:
    """Runs the cleaning pipelines of the partitions that this worker owns."""

    def __init__(
        self, settings: Settings, clock: Clock, home: Home, controls: Controls | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._home = home
        self._streams: Mapping[str, Stream] = settings.config.streams
        self._rekeyed = settings.topic(topics.REKEYED)
        self._parked = settings.topic(topics.PARKED)
        self._controls = controls or Controls(settings)
        self._read_back: dict[int, int] = {}
        self._pipelines: dict[int, CleanPipeline] = {}
        self._snapshots = SnapshotKeeper(settings, clock)

    async def assigned(self, partition: TopicPartition, position: int) -> None:
        """Rebuild the partition's dedupe state from its changelog."""
        now, streams = self._clock.now(), self._streams
        pipeline = CleanPipeline(streams, self._home)
        # At the very beginning too: a group that was reset to it must know what it has cleaned.
        await restore(self._settings, pipeline, partition.partition, now)
        self._snapshots.keep(partition.partition, pipeline.memories)
        if self._streams is not streams:  # they changed meanwhile
            pipeline.take(self._streams, self._clock.now())
        self._pipelines[partition.partition] = pipeline

    def take(self, config: Headrace) -> None:
        """Clean by other settings from the next batch of each partition on, with what is remembered.

        Raises:
            ValueError: nobody can clean by them; nothing has changed.
        """
        CleanPipeline(config.streams, self._home)  # before any partition is touched
        self._streams, now = config.streams, self._clock.now()
        for pipeline in self._pipelines.values():
            pipeline.take(config.streams, now)

    async def process(self, partition: TopicPartition, records: Sequence[Incoming]) -> Sequence[Outgoing]:
        """Clean one batch."""
        pipeline = self._pipelines[partition.partition]
        pauses = Pauses(self._controls.paused_streams, self._controls.resumed_at)
        parked = partition.topic == self._parked
        batch = pipeline.process(
            records,
            self._clock.now(),
            rekeyed=partition.topic == self._rekeyed,
            parked=parked,
            pauses=pauses,
        )
        if parked:
            self._read_back[partition.partition] = epoch_of(records[-1])
        self._count(partition.partition, batch)
        return batch.outgoing

    def held(self) -> set[TopicPartition]:
        """Return the partitions of `events.parked` in which nothing is left but events of paused streams."""
        if not self._controls.paused_streams:
            return set()
        now = self._controls.resumed_at
        return {
            TopicPartition(self._parked, number)
            for number, epoch in list(self._read_back.items())
            if epoch >= now
        }

    def _count(self, number: int, batch: Batch) -> None:
        for stream, tally in batch.by_stream.items():
            metrics.count_cleaned(
                accepted=tally.accepted, duplicates=tally.duplicates, rejected=tally.rejected, stream=stream
            )
            if tally.newest is not None:
                metrics.note_event_time(stream, number, tally.newest)
        metrics.count_forwarded(batch.forwarded)
        for stream, events in batch.parked.items():
            metrics.count_parked(stream, events)

    async def revoked(self, partition: TopicPartition) -> None:
        """Drop the partition's state."""
        self._read_back.pop(partition.partition, None)
        metrics.forget_event_times(partition.partition)
        self._pipelines.pop(partition.partition, None)
        await self._snapshots.drop(partition.partition)


async def prepare(settings: Settings) -> Home:
    """Create the missing topics and return the events' homes: the partitions of `events.raw`.

    Raises:
        Fatal: the topics whose partitions go together have not equally many.
    """
    together = (topics.RAW, topics.REKEYED, topics.PARKED, topics.DEDUPE_LOG)
    places = await _places(settings, together)
    counts = {topic.name: sum(at.topic == settings.topic(topic) for at in places) for topic in together}
    if len(set(counts.values())) > 1:
        most = max(counts.values())
        fewer = next(topic for topic in together if counts[topic.name] < most)
        raise Fatal(
            f"{counts} partitions: these topics need equally many; stop the workers of {GROUP} and run"
            f" kafka-topics --alter --topic {settings.topic(fewer)} --partitions {most}"
        )
    return Home(counts[topics.RAW.name], partition_of)


async def _places(settings: Settings, together: Sequence[topics.Topic]) -> list[TopicPartition]:
    """Create the missing topics; brokers do not know a new one at once."""
    await create_topics(settings)
    for _ in range(_TRIES):
        with contextlib.suppress(Retryable):  # not known yet
            return await partitions_of(settings, together)
        await asyncio.sleep(_AGAIN_S)
    return await partitions_of(settings, together)


def clean_app(settings: Settings, home: Home) -> "BatchApp":
    """Make the worker's Faust app."""
    from streams.engines.faust import BatchApp  # Faust patches the process: only when it runs

    controls = Controls(settings)
    handler = CleanHandler(settings, SystemClock(), home, controls)
    hot = hot_of(settings, "streams")
    app = BatchApp(
        settings,
        group=GROUP,
        topic=topics.RAW,
        beside=(topics.REKEYED, topics.PARKED),
        handler=handler,
        valve=Valve(controls, Stage.CLEAN, handler.held),
        beneath=(hot.follow,),
    )
    hot.tell(handler.take)
    hot.tell(app.take)
    return app


def main(settings: Settings) -> NoReturn:
    """Run the worker until a signal.

    Raises:
        Fatal: topics whose partitions go together have not equally many.
    """
    from streams.engines.faust import run_worker

    home = asyncio.run(prepare(settings))
    asyncio.set_event_loop(asyncio.new_event_loop())
    run_worker(clean_app(settings, home))
