"""The shared runtime against the real broker and the real ClickHouse engine."""

import asyncio
import gc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.lifecycle import connected
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings, load_config
from infra.runtime.warehouse import Warehouse, WarehouseRefused
from schemas import topics
from schemas.errors import Retryable
from schemas.record import Coordinates, Outgoing

pytestmark = pytest.mark.live


@pytest.fixture
def settings(stack: Endpoints, unique: str, tmp_path: Path) -> Settings:
    """An installation of the test's own on the shared services."""
    config = load_config({}).model_copy(update={"topic_prefix": f"{unique}.", "database": unique})
    return Settings(tmp_path, config, stack)


async def test_topics_are_created_once(settings: Settings) -> None:
    """The first call makes every topic of the contracts, the second none."""
    assert len(await create_topics(settings)) == len(topics.TOPICS)
    assert await create_topics(settings) == []


async def test_published_records_are_read_back_in_order(settings: Settings) -> None:
    """The coordinates a publisher returns are where a follower finds the records; it stops at the end."""
    await create_topics(settings)
    records = [Outgoing(topics.LOOP.name, b"key", b"%d" % number) for number in range(100)]
    async with Publisher(settings) as publisher:
        coordinates = await publisher.send_all(records)
    topic = settings.topic(topics.LOOP)
    assert coordinates == [Coordinates(topic, 0, offset) for offset in range(100)]
    read = [record async for record in follow(settings, [topics.LOOP], stop_at_end=True)]
    assert [record.value for record in read] == [record.value for record in records]


async def test_a_partition_is_read_from_a_moment_on(settings: Settings) -> None:
    """Only what was stamped after the moment comes back."""
    await create_topics(settings)
    async with Publisher(settings) as publisher:
        for number in range(10):
            record = Outgoing(topics.DEDUPE_LOG.name, None, b"%d" % number, 1)
            await publisher.send(record, timestamp_ms=1_700_000_000_000 + number * 1000)
    since = datetime.fromtimestamp(1_700_000_004, UTC)
    read = [record async for record in follow(settings, [topics.DEDUPE_LOG], start=since, stop_at_end=True)]
    values = [record.value for record in read if record.partition == 1]
    assert values == [b"4", b"5", b"6", b"7", b"8", b"9"]


async def test_following_a_missing_topic_says_so(settings: Settings) -> None:
    """The error names the topic and the command that makes it."""
    with pytest.raises(Retryable, match=r"alerts\.drift.*headrace up"):
        await anext(follow(settings, [topics.ALERTS]))


async def test_rows_are_inserted_once_per_token(settings: Settings) -> None:
    """The same token twice is one insert; rows that do not fit are refused with ClickHouse's reason."""
    warehouse = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
    try:
        database = settings.config.database
        await warehouse.command(f"CREATE DATABASE {database}")
        await warehouse.command(
            f"CREATE TABLE {database}.t (n UInt32, at DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY n "
            "SETTINGS non_replicated_deduplication_window = 100"
        )
        rows = b'{"n": 1, "at": "2026-01-02T03:04:05.678Z"}\n{"n": 2, "at": "2026-01-02T03:04:05Z"}\n'
        await warehouse.insert_json("t", rows, token="a")
        await warehouse.insert_json("t", rows, token="a")
        found = await warehouse.query(
            "SELECT n, at FROM t WHERE n >= {least:UInt32} ORDER BY n", {"least": 1}
        )
        assert [row["n"] for row in found] == [1, 2]
        with pytest.raises(WarehouseRefused, match="Code:"):
            await warehouse.insert_json("t", b'{"n": "no number", "at": 0}\n')
    finally:
        await warehouse.close()


async def test_a_warehouse_that_is_away_is_retryable() -> None:
    """Nobody listens: an error that says try again."""
    with pytest.raises(Retryable, match="does not answer"):
        await Warehouse.open("http://default:@127.0.0.1:1", "headrace")


@pytest.mark.parametrize("steps", range(8))
async def test_a_cancellation_is_not_lost_while_a_client_disconnects(stack: Endpoints, steps: int) -> None:
    """Wherever it arrives in the stop of aiokafka's client, which swallows it, the task ends as cancelled."""
    leaving, never = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with connected(AIOKafkaAdminClient(bootstrap_servers=stack.kafka)):
            leaving.set()
        await never.wait()

    task = asyncio.create_task(work())
    await leaving.wait()
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    assert task.cancelled()


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 8])
async def test_a_cancelled_start_leaves_no_connection(stack: Endpoints, steps: int) -> None:
    """A start that is cut off is finished and undone; an open connection left behind would fail this test."""

    async def work() -> None:
        async with connected(AIOKafkaAdminClient(bootstrap_servers=stack.kafka)):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    for _ in range(steps):
        await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.wait({task}, timeout=5)
    assert task.cancelled()
    gc.collect()
