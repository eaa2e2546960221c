"""The sink against the real broker and ClickHouse: once, in spite of races, kills and bad records."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import msgspec
import pytest

from infra.clickhouse.migrate import Migration, migrate, read
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings, parse
from infra.runtime.warehouse import Warehouse
from schemas import topics
from schemas.clean import Clean
from schemas.codec import encode
from schemas.errors import Fatal
from schemas.examples import CONTRACTS
from schemas.label import Label
from schemas.record import Outgoing
from streams import sink
from streams.engines.memory import MemoryRecord
from streams.sink.feed import Begun, Feed, highest
from streams.sink.rows import TABLES, TOPICS, encode_rows
from tests.waiting import aeventually

pytestmark = pytest.mark.live

EXAMPLE = msgspec.to_builtins(CONTRACTS[Clean])


@pytest.fixture
def settings(stack, unique, tmp_path) -> Settings:
    """Settings with topics and a database of their own."""
    text = f'topic_prefix = "{unique}."\ndatabase = "{unique}"\n[streams.requests]\nkind = "api"\n'
    return Settings(
        Path(tmp_path), parse(text, "test"), Endpoints(stack.kafka, stack.redis, stack.clickhouse)
    )


@pytest.fixture
async def warehouse(settings) -> AsyncIterator[Warehouse]:
    """The warehouse with this test's database migrated."""
    opened = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
    await migrate(opened)
    yield opened
    await opened.command(f"DROP DATABASE {settings.config.database}")
    await opened.close()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    """Run a sink in the background, and end it."""
    task = asyncio.create_task(sink.run(settings))
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):  # that is how it ends
            await task


def example(topic: topics.Topic) -> bytes:
    """Encode the example of a topic's contract."""
    assert topic.contract is not None
    return encode(CONTRACTS[topic.contract])


def event(number: int) -> bytes:
    """Encode a clean event."""
    return msgspec.json.encode({**EXAMPLE, "id": f"id-{number}"})


def records(topic: str, first: int, last: int) -> list[MemoryRecord]:
    """Make the records of a range of offsets."""
    return [MemoryRecord(topic, 0, at, 1_773_480_413_000, None, event(at)) for at in range(first, last + 1)]


async def offsets(warehouse: Warehouse) -> list[int]:
    """Return the offsets in the events table, in order."""
    rows = await warehouse.query(
        f"SELECT _offset FROM {warehouse.database}.events ORDER BY _partition, _offset"
    )
    return [row["_offset"] for row in rows]


async def counted(warehouse: Warehouse, table: str, what: str = "count()") -> int:
    """Count in a table."""
    return int((await warehouse.query(f"SELECT {what} AS n FROM {warehouse.database}.{table}"))[0]["n"])


async def test_every_contract_reaches_its_table_and_the_views_answer(settings, warehouse):
    """One record of each contract becomes one row; a bad one goes to `dead` and stops nothing."""
    await create_topics(settings)
    async with Publisher(settings) as publisher, running(settings):
        await publisher.send(Outgoing("labels", b"k", b'{"label":'))
        for topic in TOPICS:
            await publisher.send(Outgoing(topic.name, b"k", example(topic)))
        for table in TABLES.values():
            expected = 2 if table == "dead" else 1
            await aeventually(partial(_table_has, warehouse, table, expected), 30)
    (row,) = await warehouse.query(f"SELECT raw, text, flags FROM {warehouse.database}.events")
    assert row["raw"] == {"topic": "events.raw", "partition": 1, "offset": EXAMPLE["raw"]["offset"]}
    assert row["text"] == EXAMPLE["text"]
    assert row["flags"]["masked"] == ["client_ip"]
    (letter,) = await warehouse.query(
        f"SELECT reason, original_text FROM {warehouse.database}.dead WHERE stage = 'sink'"
    )
    assert letter == {"reason": "malformed_json", "original_text": '{"label":'}
    for view in ("event_counts", "reject_counts", "newest_labels", "labelled", "accuracy", "lineage"):
        assert await counted(warehouse, view) >= 1, view


async def _table_has(warehouse: Warehouse, table: str, expected: int) -> bool:
    return await counted(warehouse, table) == expected


async def _events_reach(warehouse: Warehouse, expected: int) -> bool:
    return await counted(warehouse, "events") >= expected


async def test_a_killed_sink_is_continued_without_loss_or_double(settings, warehouse):
    """Sinks that are cut off again and again, two at a time, leave every event in the table once."""
    await create_topics(settings)
    total = 6000
    async with Publisher(settings, linger_ms=5) as publisher:

        async def produce() -> None:
            for first in range(0, total, 200):
                batch = [
                    Outgoing("events.clean", b"%d" % (n % 8), event(n)) for n in range(first, first + 200)
                ]
                await publisher.send_all(batch)

        producing = asyncio.create_task(produce())
        for wanted in (500, 2500, 4500):
            async with running(settings), running(settings):
                await aeventually(partial(_events_reach, warehouse, wanted), 60)
        await producing
        async with running(settings):
            await aeventually(partial(_events_reach, warehouse, total), 60)
    assert await counted(warehouse, "events") == total
    assert await counted(warehouse, "events", "uniqExact(id)") == total
    assert await counted(warehouse, "events", "uniqExact(_partition, _offset)") == total


async def test_two_writers_from_the_same_offset_write_once(warehouse, unique):
    """Of two racing inserts one is taken; the other writer sees it and goes on where the table ends."""
    one, two = (Feed(warehouse, "events", unique, 0) for _ in range(2))
    assert await one.locate() == await two.locate() == 0
    results = await asyncio.gather(one.write(records(unique, 0, 49)), two.write(records(unique, 0, 79)))
    end = (await offsets(warehouse))[-1]
    assert list(results) == [end == 49, end == 79]
    assert await offsets(warehouse) == list(range(end + 1))
    assert {one.position, two.position} == {end + 1}
    loser = two if results[0] else one
    assert await loser.write(records(unique, end + 1, 120))
    assert await offsets(warehouse) == list(range(121))


async def test_one_question_settles_the_inserts_of_a_round(warehouse, unique):
    """Two writers insert both partitions before anybody asks: each offset is there once, each loser knows."""
    ones, twos = ([Feed(warehouse, "events", unique, partition) for partition in (0, 1)] for _ in range(2))
    for feed in (*ones, *twos):
        await feed.locate()
    sizes = {id(feed): 40 + 10 * number for number, feed in enumerate((*ones, *twos))}
    batches = {
        id(feed): [
            record._replace(partition=number % 2) for record in records(unique, 0, sizes[id(feed)] - 1)
        ]
        for number, feed in enumerate((*ones, *twos))
    }
    begun = await asyncio.gather(*(feed.begin(batches[id(feed)]) for feed in (*ones, *twos)))
    ends = await highest(warehouse, "events", unique)
    for number, (feed, insert) in enumerate(zip((*ones, *twos), begun, strict=True)):
        assert insert is not None
        end = ends[number % 2]
        assert await feed.finish(insert, end) == (end == sizes[id(feed)] - 1)
        assert feed.position == end + 1
    rows = await warehouse.query(
        f"SELECT _partition, count() AS n, uniqExact(_offset) AS different FROM {warehouse.database}.events "
        "GROUP BY _partition"
    )
    assert {row["_partition"]: (row["n"], row["different"]) for row in rows} == {
        partition: (end + 1, end + 1) for partition, end in ends.items()
    }


async def test_an_insert_that_left_no_rows_is_sent_again(warehouse, unique):
    """Whether or not ClickHouse said that it had inserted: what the table holds decides."""
    feed = Feed(warehouse, "events", unique, 0)
    await feed.locate()
    rows = encode_rows(records(unique, 0, 9))
    assert await feed.finish(Begun(rows, 9, inserted=False), -1)
    assert await feed.finish(Begun(encode_rows(records(unique, 10, 19)), 19, inserted=True), 9)
    assert await offsets(warehouse) == list(range(20))


async def test_a_late_insert_of_a_fenced_writer_is_absorbed(warehouse, unique):
    """A writer that comes back with an old position adds nothing, and learns where to go on."""
    old, new = (Feed(warehouse, "events", unique, 0) for _ in range(2))
    await old.locate()
    await new.locate()
    assert await new.write(records(unique, 0, 9))
    assert await new.write(records(unique, 10, 19))
    assert not await old.write(records(unique, 0, 4))
    assert old.position == 20
    assert await offsets(warehouse) == list(range(20))


async def test_a_token_used_up_by_a_crash_does_not_block(warehouse, unique):
    """If ClickHouse remembers a token whose rows it lost, the rows come under the next one."""
    lost = encode_rows(records(unique, 0, 4))
    await warehouse.insert_json("events", lost, token=f"{unique}:0:-1")
    await warehouse.command(
        f"ALTER TABLE {warehouse.database}.events DELETE WHERE true SETTINGS mutations_sync = 2"
    )
    await warehouse.insert_json("events", lost, token=f"{unique}:0:-1")
    assert await counted(warehouse, "events") == 0, "the token must be used up"
    feed = Feed(warehouse, "events", unique, 0)
    assert await feed.locate() == 0
    assert await feed.write(records(unique, 0, 9))
    assert await offsets(warehouse) == list(range(10))


@pytest.mark.parametrize("table", TABLES.values())
async def test_where_a_table_ends_is_answered_from_memory(warehouse, table):
    """The question of each round reads no part: the bounds of the partition key answer it."""
    columns = "_topic, _partition, _offset, _arrived"
    for offset in range(3):
        await warehouse.command(
            f"INSERT INTO {warehouse.database}.{table} ({columns}) VALUES ('t', 1, {offset}, '2026-03-14')"
        )
    plan = await warehouse.query(
        f"EXPLAIN SELECT _partition, max(_offset) FROM {warehouse.database}.{table} WHERE _topic = 't' "
        "GROUP BY _topic, _partition"
    )
    text = "\n".join(row["explain"] for row in plan)
    assert "_minmax_count_projection" in text
    assert "ReadFromMergeTree" not in text
    assert await highest(warehouse, table, "t") == {1: 2}


async def test_a_small_insert_is_one_file(warehouse, unique):
    """A part of a few rows is packed: creating two dozen files would cost more than the rows."""
    feed = Feed(warehouse, "events", unique, 0)
    await feed.locate()
    assert await feed.write(records(unique, 0, 9))
    (part,) = await warehouse.query(
        "SELECT part_storage_type AS storage, rows FROM system.parts WHERE active AND table = 'events' "
        "AND database = {database:String}",
        {"database": warehouse.database},
    )
    assert part == {"storage": "Packed", "rows": 10}


async def test_a_row_that_clickhouse_refuses_is_buried_alone(settings, warehouse):
    """A record that keeps its contract and still does not fit the table goes to `dead`; its batch goes on."""
    await create_topics(settings)
    poison = encode(CONTRACTS[Label])[:-1] + b',"label":"twice"}'
    async with Publisher(settings) as publisher:
        for value in (event(1), b'{"stream": 5}', event(2)):
            await publisher.send(Outgoing("events.clean", b"k", value))
        for value in (
            encode(CONTRACTS[Label]),
            poison,
            encode(CONTRACTS[Label]),
        ):
            await publisher.send(Outgoing("labels", b"k", value))
        async with running(settings):
            await aeventually(partial(_table_has, warehouse, "dead", 2), 30)
            await aeventually(partial(_table_has, warehouse, "events", 2), 30)
            await aeventually(partial(_table_has, warehouse, "labels", 2), 30)
    rows = await warehouse.query(f"SELECT reason, stage FROM {warehouse.database}.dead ORDER BY reason")
    assert rows == [{"reason": "poison", "stage": "sink"}, {"reason": "wrong_type", "stage": "sink"}]


async def test_offsets_beyond_the_topics_end_stop_the_sink(settings, warehouse):
    """A topic that was made anew under an old table is refused: its offsets would be taken for old ones."""
    await create_topics(settings)
    feed = Feed(warehouse, "events", settings.topic(topics.CLEAN), 0)
    await feed.locate()
    await feed.write(records(settings.topic(topics.CLEAN), 0, 9))
    with pytest.raises(Fatal, match="made anew"):
        await asyncio.wait_for(sink.run(settings), 30)


async def test_migrations_are_applied_once_even_by_two_at_a_time(settings, stack):
    """Two that start at once both succeed, the ledger has each number once, an edited file is refused."""
    first, second = [await Warehouse.open(stack.clickhouse, settings.config.database) for _ in range(2)]
    try:
        await asyncio.gather(migrate(first), migrate(second))
        assert await migrate(first) == []
        numbers = await first.query(f"SELECT number FROM {first.database}.migrations ORDER BY number")
        assert [row["number"] for row in numbers] == [migration.number for migration in read()]
        with pytest.raises(Fatal):
            await migrate(first, [Migration(1, "events", "another", ("SELECT 1",))])
        await first.command(f"DROP DATABASE {first.database}")
    finally:
        await first.close()
        await second.close()
