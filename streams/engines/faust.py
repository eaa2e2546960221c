"""The default engine: a Faust worker that carries whole partition batches, and commits them exactly once.

Faust hands an agent one event at a time, which costs more than the work itself; here one Faust event is all
that was fetched from a partition (FetchedBatch). Faust keeps the worker's life cycle, the group membership,
agents and timers; offsets are committed by `ExactlyOnce` alone, with the outputs, in one transaction. The
topic's acknowledgements are off, so that Faust itself never commits and cannot move the group backwards.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from infra.runtime.kafka.exactly_once import GATHER_BYTES, GATHER_MS, ExactlyOnce, Handler
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.record import Incoming
from schemas.topics import Topic

_log = get_logger(__name__)


class FetchedBatch(NamedTuple):
    """What was fetched from one partition in one generation of the group."""

    generation: int
    partition: TopicPartition
    records: Sequence[Incoming]


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer, reading only what publishers committed, and saying when it was taken."""

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust ties the isolation level to its own transactions, which are not used here.
        # There is no public way to these either.
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        consumer._fetch_min_bytes = GATHER_BYTES  # noqa: SLF001
        consumer._fetch_max_wait_ms = GATHER_MS  # noqa: SLF001
        return consumer

    async def _fetch_records(self, consumer: AIOKafkaConsumer, *args: Any, **kwargs: Any) -> Any:
        fetched = await super()._fetch_records(consumer, *args, **kwargs)
        # Read here, in the consumer's own thread, with nothing awaited since the records were taken: the
        # rebalance listener of this same thread sets it before the worker hears of a new assignment.
        generation = self.app.consumer_generation_id
        return {
            partition: [
                FetchedBatch(generation, TopicPartition(partition.topic, partition.partition), records)
            ]
            for partition, records in fetched.items()
        }


class BatchConsumer(driver.Consumer):
    """Faust's Kafka consumer, delivering each partition's fetched records as one message."""

    app: "BatchApp"

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        batch: FetchedBatch = record
        first = cast("Any", batch.records[0])
        return ConsumerMessage(
            topic=first.topic,
            partition=first.partition,
            offset=first.offset,
            timestamp=first.timestamp / 1000.0,
            timestamp_type=first.timestamp_type,
            headers=[],
            key=None,
            value=cast("Any", batch),  # Faust passes it on untouched
            checksum=None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish the batches in hand before Faust lets the partitions go."""
        await self.app.exactly_once.revoke([TopicPartition(*tp) for tp in revoked])
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Fence former owners before Faust asks for the committed offsets and seeks to them."""
        await self.app.exactly_once.assign([TopicPartition(*tp) for tp in assigned], generation_id)
        await super().on_partitions_assigned(assigned, generation_id)


class BatchTransport(driver.Transport):
    """The transport to set on an app before its worker starts."""

    Consumer = BatchConsumer


class _AsFetched(faust.Schema[Any, Any]):
    """Hands the batch to the agent as it is: operators decode it, and reject what cannot be."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> None:
        return None

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        return message.value


class BatchApp(faust.App):
    """A Faust app with one agent, which runs `handler` on the batches of `topic`."""

    def __init__(self, settings: Settings, *, group: str, topic: Topic, handler: Handler) -> None:
        super().__init__(
            settings.config.topic_prefix + group,
            broker=f"kafka://{settings.endpoints.kafka}",
            datadir=str(_folder(settings.home / "faust")),
            store="memory://",
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            consumer_auto_offset_reset="earliest",
            broker_session_timeout=6.0,
            broker_heartbeat_interval=1.0,
            broker_max_poll_records=4000,
            stream_wait_empty=False,
            stream_buffer_maxsize=8,
        )
        self.transport = BatchTransport(url=self.conf.broker, app=self, loop=self.loop)
        self.exactly_once = ExactlyOnce(settings, group, handler)
        self.failure: BaseException | None = None
        source = self.topic(settings.topic(topic), schema=_AsFetched(), acks=False)
        self.agent(source, name=f"{group}.batches")(self._run)

    async def on_stop(self) -> None:
        """Finish the batches in hand and leave."""
        await self.exactly_once.stop()

    async def _run(self, batches: Any) -> None:
        async for batch in batches:
            try:
                await self.exactly_once.batch(*batch)
            except Exception as error:
                # Faust would log this and go on with the next batch; a batch must never be passed over.
                self.failure = error
                _log.exception("worker.failed", error=str(error))
                await self.crash(error)
                raise


def run_worker(app: BatchApp) -> NoReturn:
    """Run the app's worker in this process until a signal; a failed batch ends it with status 1."""
    worker = faust.Worker(app, override_logging=False, redirect_stdouts=False, quiet=True, console_port=0)
    try:
        worker.execute_from_commandline()
    except SystemExit:
        if app.failure is None:
            raise
    raise SystemExit(1)


def _folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
