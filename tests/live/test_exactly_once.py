"""The exactly-once loop against a real broker: kills, rebalances, both engines."""

import asyncio
import collections
import contextlib
import functools
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from infra.runtime.kafka.admin import create_topics
from infra.runtime.settings import Endpoints, Settings
from schemas import topics
from tests.live.copy_worker import settings_for
from tests.waiting import aeventually

WORKER = Path(__file__).with_name("copy_worker.py")
EVENTS = 60_000

pytestmark = pytest.mark.live


class Workers:
    """Real worker processes of one engine, and their ends."""

    def __init__(self, engine: str, settings: Settings) -> None:
        self._arguments = [engine, settings.endpoints.kafka, settings.config.topic_prefix, str(settings.home)]
        self._log = settings.home / "workers.log"
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(WORKER), *self._arguments], stdout=log, stderr=log
            )
        self.running.append(process)
        return process

    def end(self, number: int) -> None:
        for process in self.running:
            process.send_signal(number)
            process.wait(30)
        self.running.clear()


@contextlib.contextmanager
def _workers(engine: str, settings: Settings) -> Iterator[Workers]:
    workers = Workers(engine, settings)
    try:
        yield workers
    finally:
        workers.end(signal.SIGKILL)


async def _publish(settings: Settings, first: int, last: int) -> None:
    """Publish the numbers from `first` up to `last` over both partitions, in transactions' absence."""
    async with AIOKafkaProducer(
        bootstrap_servers=settings.endpoints.kafka, enable_idempotence=True
    ) as producer:
        for partition in (0, 1):
            batch = producer.create_batch()
            for number in range(first + partition, last, 2):
                value = b"%d" % number
                if batch.append(key=None, value=value, timestamp=None) is None:
                    await producer.send_batch(batch, settings.topic(topics.RAW), partition=partition)
                    batch = producer.create_batch()
                    batch.append(key=None, value=value, timestamp=None)
            await producer.send_batch(batch, settings.topic(topics.RAW), partition=partition)
        await producer.flush()


class Output:
    """What a committed-only reader sees on `events.clean`."""

    def __init__(self) -> None:
        self.seen: collections.Counter[int] = collections.Counter()
        self.ordered: dict[int, list[int]] = {0: [], 1: []}

    async def has(self, events: int) -> bool:
        return self.seen.total() >= events

    async def follow(self, settings: Settings) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=settings.endpoints.kafka,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
        )
        async with consumer:
            consumer.assign([TopicPartition(settings.topic(topics.CLEAN), number) for number in (0, 1)])
            async for record in consumer:
                self.seen[int(record.value)] += 1
                self.ordered[record.partition].append(int(record.value))


@pytest.fixture
def settings(stack: Endpoints, unique: str, tmp_path: Path) -> Settings:
    """An installation of the test's own on the shared broker."""
    return settings_for(stack.kafka, f"{unique}.", tmp_path)


@pytest.mark.parametrize("engine", ["plain", "faust"])
async def test_a_batch_that_fails_is_never_passed_over(engine: str, settings: Settings) -> None:
    """A worker whose handler fails ends with status 1; the next one, sound again, processes every event."""
    await create_topics(settings)
    await _publish(settings, 0, 1000)
    with _workers(f"{engine}-failing", settings) as failing:
        process = failing.start()
        assert await asyncio.to_thread(process.wait, 60) == 1
    output = Output()
    follower = asyncio.create_task(output.follow(settings))
    try:
        with _workers(engine, settings) as workers:
            workers.start()
            await aeventually(functools.partial(output.has, 1000), timeout_s=60)
    finally:
        follower.cancel()
    assert set(output.seen) == set(range(1000))
    assert set(output.seen.values()) == {1}


@pytest.mark.parametrize("engine", ["plain", "faust"])
@pytest.mark.timeout(300)
async def test_kills_and_rebalances_lose_and_double_nothing(engine: str, settings: Settings) -> None:
    """Two kill -9 and a second worker joining, while events flow: every number comes out once, in order."""
    await create_topics(settings)
    output = Output()
    follower = asyncio.create_task(output.follow(settings))
    try:
        with _workers(engine, settings) as workers:
            workers.start()
            for third in range(3):
                await _publish(settings, third * EVENTS // 3, (third + 1) * EVENTS // 3)
                reached = third * EVENTS // 3 + EVENTS // 20
                await aeventually(functools.partial(output.has, reached), timeout_s=60)
                if third < 2:
                    workers.end(signal.SIGKILL)
                    workers.start()
            workers.start()
            await aeventually(functools.partial(output.has, EVENTS), timeout_s=60)
            workers.end(signal.SIGTERM)
    finally:
        follower.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await follower
    assert set(output.seen) == set(range(EVENTS))
    assert set(output.seen.values()) == {1}
    assert all(numbers == sorted(numbers) for numbers in output.ordered.values())
