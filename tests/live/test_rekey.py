"""Copies on different partitions, sent with random keys, through real workers that are killed.

The cleaning worker's own two topics of one number always lie with one member; a fault in between loses and
doubles nothing, and the outcome is the memory engine's.
"""

import asyncio
import contextlib
import json
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.exactly_once import ExactlyOnce
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.kafka.partitioner import partition_of
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings, load
from schemas import codec, topics
from schemas.clean import Clean
from schemas.errors import Fatal
from schemas.raw import structured
from schemas.record import Coordinates, Incoming, Kind, Outgoing
from streams.apps.clean import prepare
from streams.engines.memory import MemoryEngine
from tests.installation import environment_of, start_worker
from tests.waiting import aeventually

pytestmark = pytest.mark.live

CONFIG = """
topic_prefix = "{prefix}."
[streams.requests]
kind = "api"
[streams.spread]
kind = "log"
dedupe = {{ rekey = "always" }}
"""
EVENTS = 2000
PARTITIONS = topics.RAW.partitions


@pytest.fixture
def environment(stack: Endpoints, unique: str, tmp_path: Path) -> dict[str, str]:
    """The environment of workers that have topics of their own."""
    return environment_of(stack, tmp_path, CONFIG.format(prefix=unique))


@contextlib.contextmanager
def _running(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    worker = start_worker("streams", environment, log)
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait(10)


def _identity(number: int) -> tuple[str, str]:
    return f"shop/{number % 7}", str(number)


def _raw(number: int, chance: random.Random) -> Outgoing:
    """Make one copy of an event, with a key and a partition that say nothing about it."""
    source, event_id = _identity(number)
    data = {"method": "GET", "path": f"/item/{number}"} if number % 2 else {"message": f"item {number}"}
    kind = Kind.API if number % 2 else Kind.LOG
    value = json.dumps(structured(event_id, source, kind, data)).encode()
    key = chance.choice([None, source.encode(), chance.randbytes(4)])
    return Outgoing(topics.RAW.name, key, value, chance.randrange(PARTITIONS))


async def _all(settings: Settings, topic: topics.Topic) -> list[Incoming]:
    return [record async for record in follow(settings, [topic], stop_at_end=True)]


async def _clean(settings: Settings) -> list[Clean]:
    return [codec.decode(record.value or b"", Clean) for record in await _all(settings, topics.CLEAN)]


def _reached(settings: Settings, least: int) -> Callable[[], Awaitable[bool]]:
    async def reached() -> bool:
        return len(await _all(settings, topics.CLEAN)) >= least

    return reached


async def _drained(settings: Settings, group: str) -> bool:
    """Tell whether the group has read all of `events.raw` and `events.rekeyed`."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.endpoints.kafka)
    async with connected(admin):
        offsets = await admin.list_consumer_group_offsets(settings.config.topic_prefix + group)
    for topic in (topics.RAW, topics.REKEYED):
        for record in await _all(settings, topic):
            place = offsets.get(TopicPartition(record.topic, record.partition))
            if place is None or place.offset <= record.offset:
                return False
    return True


@pytest.mark.timeout(180)
async def test_copies_across_partitions_with_two_workers_and_a_kill(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Three copies of each of 2,000 events on any partition, one worker killed: each comes out once."""
    settings = load(environment)
    await create_topics(settings)
    chance = random.Random(20261122)
    numbers = [number for number in range(EVENTS) for _ in range(2)]
    chance.shuffle(numbers)
    log = tmp_path / "worker.log"
    async with Publisher(settings) as publisher:
        with _running(environment, log) as first, _running(environment, log) as second:
            await publisher.send_all([_raw(number, chance) for number in numbers[: len(numbers) // 2]])
            await aeventually(_reached(settings, 200), timeout_s=60, every_s=0.2)
            first.send_signal(signal.SIGKILL)
            await publisher.send_all([_raw(number, chance) for number in numbers[len(numbers) // 2 :]])
            await publisher.send_all([_raw(number, chance) for number in range(EVENTS)])

            async def done() -> bool:
                return await _drained(settings, "headrace-streams")

            await aeventually(_reached(settings, EVENTS), timeout_s=60, every_s=0.5)
            await aeventually(done, timeout_s=60, every_s=0.5)
            second.terminate()
            assert await asyncio.to_thread(second.wait, 20) == 0
    clean = await _clean(settings)
    assert Counter((one.source, one.id) for one in clean) == {_identity(n): 1 for n in range(EVENTS)}
    raw = {
        Coordinates(record.topic, record.partition, record.offset): record
        for record in await _all(settings, topics.RAW)
    }
    for one in clean:  # the coordinates are of events.raw, and of a record of that very event
        event = json.loads(raw[one.raw].value or b"")
        assert (event["source"], event["id"]) == (one.source, one.id)
    assert len(await _all(settings, topics.REKEYED)) > EVENTS // 2


@pytest.mark.timeout(120)
async def test_the_worker_does_what_the_memory_engine_does(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The same records in the same partitions: as many are forwarded, to the same places, and accepted."""
    settings = load(environment)
    await create_topics(settings)
    chance = random.Random(7)
    records = [_raw(number % 300, chance) for number in range(600)]
    engine = MemoryEngine(settings.config.streams, partitions=PARTITIONS, partition_of=partition_of)
    for record in records:
        engine.publish(record.value, key=record.key, timestamp_ms=0, partition=record.partition)
    clock = engine.publish(b"{", timestamp_ms=0, partition=0)
    async with Publisher(settings) as publisher:
        await publisher.send_all([*records, Outgoing(topics.RAW.name, None, clock.value or b"", 0)])
    batches = engine.run(datetime.now(UTC))

    async def done() -> bool:
        return await _drained(settings, "headrace-streams")

    with _running(environment, tmp_path / "worker.log"):
        await aeventually(done, timeout_s=60, every_s=0.3)
    assert sum(batch.accepted for batch in batches) == 300

    def sketch(found: list[Incoming]) -> Counter[tuple[int, bytes | None, bytes | None]]:
        return Counter((record.partition, record.key, record.value) for record in found)

    assert sketch(await _all(settings, topics.REKEYED)) == sketch(list(engine.records(topics.REKEYED)))
    accepted = {
        codec.decode(record.value or b"", Clean).id: record.partition
        for record in engine.records(topics.CLEAN)
    }
    found = await _all(settings, topics.CLEAN)
    assert {codec.decode(record.value or b"", Clean).id: record.partition for record in found} == accepted
    assert len(found) == 300
    assert len(await _all(settings, topics.DEAD)) == 1


class _Nothing:
    """Remembers which lanes were given to it."""

    def __init__(self) -> None:
        self.lanes: list[TopicPartition] = []

    async def assigned(self, partition: TopicPartition, position: int) -> None:
        self.lanes.append(partition)

    async def process(self, partition: TopicPartition, records: object) -> list[Outgoing]:
        return []

    async def revoked(self, partition: TopicPartition) -> None:
        self.lanes.remove(partition)


async def test_half_a_lane_is_refused_and_a_whole_one_is_one(environment: dict[str, str]) -> None:
    """A member that gets a partition without its counterpart is refused; with it, both are one state."""
    settings = load(environment)
    await create_topics(settings)
    handler = _Nothing()
    work = ExactlyOnce(settings, "lanes", handler, together=(topics.RAW, topics.REKEYED))
    raw, rekeyed = (
        [TopicPartition(settings.topic(topic), number) for number in range(PARTITIONS)]
        for topic in (topics.RAW, topics.REKEYED)
    )
    try:
        with pytest.raises(Fatal, match=r"partition 1 of .*events\.rekeyed belongs to another member"):
            await work.assign([*raw, rekeyed[0]], 1)
        assert handler.lanes == []
        assert await work.assign([*raw, *rekeyed], 2) == dict.fromkeys([*raw, *rekeyed], 0)
        assert handler.lanes == raw
        await work.revoke([rekeyed[0]])  # with one of them the whole lane goes
        assert handler.lanes == raw[1:]
    finally:
        await work.stop()
    assert handler.lanes == []


async def test_topics_of_unequal_partitions_are_refused_at_the_start(environment: dict[str, str]) -> None:
    """The message names the topic that has too few and the command that mends it."""
    settings = load(environment)
    home = await prepare(settings)
    assert home.partitions == PARTITIONS
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.endpoints.kafka)
    async with connected(admin):
        await admin.create_partitions({settings.topic(topics.RAW): NewPartitions(PARTITIONS + 1)})

    async def refused() -> str:
        try:
            await prepare(settings)
        except Fatal as error:
            return str(error)
        return ""

    message = await aeventually(refused, timeout_s=20)
    assert f"--alter --topic {settings.topic(topics.REKEYED)} --partitions {PARTITIONS + 1}" in message
