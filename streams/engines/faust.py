"""The default engine: a Faust worker that carries whole partition batches, and commits them exactly once.

Faust hands an agent one event at a time, which costs more than the work itself; here one Faust event is all
that was fetched from a partition (FetchedBatch). Faust keeps the worker's life cycle, the group membership,
agents and timers; offsets are committed by `ExactlyOnce` alone, with the outputs, in one transaction. The
topic's acknowledgements are off, so that Faust itself never commits and cannot move the group backwards.

Batches of different partitions overlap: one computes while another's transaction waits for the brokers. Of
one partition one batch is in hand and one waits; then the agent takes no more, Faust's buffer of eight
batches fills and its consumer stops fetching until a transaction has ended.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn, cast

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage
from headrace_native import RecordBlock

from infra.runtime import metrics
from infra.runtime.control import Valve
from infra.runtime.kafka.blocks import carry_blocks
from infra.runtime.kafka.exactly_once import GATHER_BYTES, GATHER_MS, ExactlyOnce, Handler
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.config import Headrace
from schemas.topics import Topic

_log = get_logger(__name__)
FETCH_BYTES: Final = 8 * 1024 * 1024
"""What is fetched of a partition at once. Of all together it is `batches.clean`: when there is a backlog, a
transaction is shared by several thousand events."""
RESTORE_S: Final = 300.0
"""How long a member may take to restore its state before the group goes on without it."""
_LOOK_AGAIN_S: Final = 0.01
_TAKEN_PER_PARTITION: Final = 2
"""How many batches of one partition are taken over from Faust: one in hand and one waiting for it."""


class FetchedBatch(NamedTuple):
    """What was fetched from one partition; `generation` counts the seeks of the consumer that took it."""

    generation: int
    partition: TopicPartition
    records: RecordBlock


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer, reading only what publishers committed, and saying when it was taken."""

    _generation = -1

    def _create_worker_consumer(self, transport: driver.Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Faust ties the isolation level to its own transactions, which are not used here.
        # There is no public way to these either.
        consumer._isolation_level = "read_committed"  # noqa: SLF001
        consumer._fetch_min_bytes = GATHER_BYTES  # noqa: SLF001
        consumer._fetch_max_wait_ms = GATHER_MS  # noqa: SLF001
        consumer._max_partition_fetch_bytes = FETCH_BYTES  # noqa: SLF001
        # Without tables Faust spreads partitions one by one; by ranges, partitions of one number of topics
        # that have equally many go to the same member. `ExactlyOnce` checks every assignment.
        consumer._partition_assignment_strategy = (RangePartitionAssignor,)  # noqa: SLF001
        return consumer

    async def on_start(self) -> None:
        """Connect, and from then on carry blocks."""
        await super().on_start()
        carry_blocks(self._consumer)

    async def read_on(self, positions: Mapping[TopicPartition, int], generation: int) -> None:
        """Seek, and mark what is taken from then on with `generation`."""
        await self.call_thread(self._read_on, positions, generation)

    async def _read_on(self, positions: Mapping[TopicPartition, int], generation: int) -> None:
        # Nothing is awaited here, nor between the taking of records and their mark, in this same thread.
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        for partition, position in positions.items():
            if partition in assigned:
                consumer.seek(partition, position)
        self._generation = generation

    async def _fetch_records(self, consumer: AIOKafkaConsumer, *args: Any, **kwargs: Any) -> Any:
        app = cast("BatchApp", self.app)
        metrics.observe_lag(consumer, app.group)
        if app.valve is not None:
            app.valve.apply(consumer)
        kwargs["max_records"] = app.most
        fetched = await super()._fetch_records(consumer, *args, **kwargs)
        generation = self._generation
        return {
            partition: [FetchedBatch(generation, TopicPartition(partition.topic, partition.partition), block)]
            for partition, (block,) in fetched.items()
        }


class _Unfiltered(dict[TP, int | None]):
    """Faust's memory of what it has read, always empty: `ExactlyOnce` leaves out what is committed.

    A late batch of before a seek would raise it, and what is fetched again after the seek be passed over.
    """

    def __getitem__(self, tp: TP) -> None:
        return None

    def __setitem__(self, tp: TP, offset: int | None) -> None:
        """Forget it."""


class _RebalanceListener(driver.ConsumerRebalanceListener):
    """Faust's listener, of a member that stays alive while it restores its state.

    aiokafka sends heartbeats only after the listener has returned; without them the brokers would take a
    member for dead that restores longer than its session, and give its partitions away, again and again.
    """

    async def on_partitions_assigned(self, assigned: Any) -> None:
        # There is no public way; started twice, it is one task.
        self._thread._ensure_consumer()._coordinator._start_heartbeat_task()  # noqa: SLF001
        await super().on_partitions_assigned(assigned)


class BatchConsumer(driver.Consumer):
    """Faust's Kafka consumer, delivering each partition's fetched records as one message."""

    RebalanceListener = _RebalanceListener
    app: "BatchApp"
    _generation = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._read_offset = _Unfiltered()

    def _new_consumer_thread(self) -> driver.AIOKafkaConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        """Fetch; briefly while Faust's buffer of a partition is full.

        Faust leaves such a partition out, and would wait for the others, of which there may be none to come,
        for all of `timeout`, though the buffer is soon empty.
        """
        if self._buffered_partitions:
            timeout = min(timeout, _LOOK_AGAIN_S)
        return await super()._getmany(active_partitions, timeout)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        batch: FetchedBatch = record
        first = batch.records[0]
        return ConsumerMessage(
            topic=first.topic,
            partition=first.partition,
            offset=first.offset,
            timestamp=first.timestamp / 1000.0,
            timestamp_type=0,  # nobody asks
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
        if self.app.should_stop:
            return  # Faust would close the client from the wrong thread, and the worker never end
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Fence former owners before Faust seeks to where they ended."""
        if self.app.should_stop:
            return  # nothing more is begun; leaving the group gives the partitions to another
        try:
            await self.app.exactly_once.assign(
                [TopicPartition(*tp) for tp in assigned], self._next_generation()
            )
        except Exception as error:
            # aiokafka would log this and go on, with partitions that nobody processes.
            await self.app.fail(error)
            raise
        if self.app.should_stop:
            await self.app.exactly_once.stop()  # the end came meanwhile, and found nothing to give up
            return
        await super().on_partitions_assigned(assigned, generation_id)

    async def perform_seek(self) -> None:
        """Read on where `ExactlyOnce` stands; Faust calls it when it resumes, or has thrown records away.

        What was taken before the seek is of an older generation and dropped, for some of it may be missing.
        Faust itself leaves partitions alone that have no committed offset yet: what it had taken of them and
        thrown away would be passed over.
        """
        generation = self._next_generation()
        positions = self.app.exactly_once.read_on(generation)
        await cast(_ConsumerThread, self._thread).read_on(positions, generation)

    def _next_generation(self) -> int:
        self._generation += 1
        return self._generation


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
    """A Faust app with one agent, which runs `handler` on the batches of `topic`.

    Partitions of the topics `beside` are processed together with the topic's partition of the same number:
    by one member, with one state, one step at a time (`ExactlyOnce`). What is `beneath` runs as long as it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        group: str,
        topic: Topic,
        handler: Handler,
        beside: Sequence[Topic] = (),
        valve: Valve | None = None,
        beneath: Sequence[Callable[[], Coroutine[Any, Any, None]]] = (),
    ) -> None:
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
            broker_rebalance_timeout=RESTORE_S,  # the others wait for a member that is still restoring
            broker_max_poll_records=settings.config.batches.clean,
            stream_wait_empty=False,
            stream_buffer_maxsize=8,
        )
        self.transport = BatchTransport(url=self.conf.broker, app=self, loop=self.loop)
        topics = (topic, *beside)
        self.exactly_once = ExactlyOnce(settings, group, handler, together=topics if beside else ())
        self.failure: BaseException | None = None
        self.group = settings.config.topic_prefix + group
        self.valve = valve
        self.most = settings.config.batches.clean
        """How many records a fetch takes at most; it may change."""
        self._beneath = beneath
        self._in_hand: set[asyncio.Task[None]] = set()
        self._room: defaultdict[int, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(_TAKEN_PER_PARTITION)
        )
        source = self.topic(*map(settings.topic, topics), schema=_AsFetched(), acks=False)
        self.agent(source, name=f"{group}.batches")(self._run)

    async def on_start(self) -> None:
        """Begin to follow the operators' orders; until they are known nothing is fetched."""
        await super().on_start()
        if self.valve is not None:
            self.add_future(self.valve.follow())
        for work in self._beneath:
            self.add_future(work())

    async def on_stop(self) -> None:
        """Finish the batches in hand and leave."""
        await self.exactly_once.stop()

    def take(self, config: Headrace) -> None:
        """Go on by other settings."""
        self.most = config.batches.clean

    async def fail(self, error: BaseException) -> None:
        """End the worker; it would go on with the next batch, and a batch must never be passed over."""
        self.failure = error
        _log.error("worker.failed", error=str(error), exc_info=error)
        await self.crash(error)

    async def _run(self, batches: Any) -> None:
        async for batch in batches:
            room = self._room[batch.partition.partition]
            await room.acquire()
            # Started in the order in which they came, and kept in it by the lane's lock, which is fair.
            task = asyncio.create_task(self._process(batch, room))
            self._in_hand.add(task)
            task.add_done_callback(self._in_hand.discard)

    async def _process(self, batch: FetchedBatch, room: asyncio.Semaphore) -> None:
        try:
            await self.exactly_once.batch(*batch)
        except Exception as error:  # noqa: BLE001  # whatever it is: the state is ahead of the log
            await self.fail(error)
        finally:
            room.release()


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
