"""The `streams` worker: consumes `events.raw`, produces `events.clean`, `events.dead` and `dedupe.log`.

One CleanPipeline per input partition; its dedupe state comes back from that partition of `dedupe.log`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NoReturn

from aiokafka import TopicPartition

from infra.runtime import metrics
from infra.runtime.clock import Clock, SystemClock
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import partition_values
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas import topics
from schemas.config import Stream
from schemas.record import Incoming, Outgoing
from streams.operators.pipeline import CleanPipeline

GROUP = "headrace-streams"

_log = get_logger(__name__)


class CleanHandler:
    """Runs the cleaning pipelines of the partitions that this worker owns."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._pipelines: dict[TopicPartition, CleanPipeline] = {}

    async def assigned(self, partition: TopicPartition, position: int) -> None:
        """Rebuild the partition's dedupe state from its changelog."""
        now = self._clock.now()
        streams: Mapping[str, Stream] = self._settings.config.streams
        pipeline = CleanPipeline(streams)
        if position:
            window_s = max((stream.dedupe.window for stream in streams.values()), default=0.0)
            changelog = await partition_values(
                self._settings,
                topics.DEDUPE_LOG,
                partition.partition,
                since=now - timedelta(seconds=window_s),
            )
            pipeline.restore(changelog, now)
            _log.info("dedupe.restored", partition=partition.partition, batches=len(changelog))
        self._pipelines[partition] = pipeline

    async def process(self, partition: TopicPartition, records: Sequence[Incoming]) -> Sequence[Outgoing]:
        """Clean one batch."""
        batch = self._pipelines[partition].process(records, self._clock.now())
        metrics.count_cleaned(accepted=batch.accepted, duplicates=batch.duplicates, rejected=batch.rejected)
        return batch.outgoing

    async def revoked(self, partition: TopicPartition) -> None:
        """Drop the partition's state."""
        self._pipelines.pop(partition, None)


def main(settings: Settings) -> NoReturn:
    """Run the worker until a signal."""
    from streams.engines.faust import BatchApp, run_worker  # Faust patches the process: only when it runs

    asyncio.run(create_topics(settings))
    asyncio.set_event_loop(asyncio.new_event_loop())
    handler = CleanHandler(settings, SystemClock())
    run_worker(BatchApp(settings, group=GROUP, topic=topics.RAW, handler=handler))
