"""Publishing many records at once against the real broker."""

from pathlib import Path

import pytest

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings, load_config
from schemas import topics
from schemas.errors import Fatal
from schemas.record import Outgoing

pytestmark = pytest.mark.live


@pytest.fixture
def settings(stack: Endpoints, unique: str, tmp_path: Path) -> Settings:
    """An installation of the test's own on the shared services."""
    return Settings(tmp_path, load_config({}).model_copy(update={"topic_prefix": f"{unique}."}), stack)


async def test_coordinates_headers_and_times_come_back_in_order(settings: Settings) -> None:
    """Over two topics, several partitions and more than one batch, each record lies where it was said."""
    await create_topics(settings)
    records = [
        Outgoing(
            topics.RAW.name if number % 3 else topics.DEAD.name,
            b"key-%d" % (number % 7),
            b"%06d" % number + b"." * 600,
            None,
            [("number", b"%d" % number)],
        )
        for number in range(5000)
    ]
    times = [1_700_000_000_000 + number for number in range(len(records))]
    async with Publisher(settings) as publisher:
        coordinates = await publisher.send_all(records, timestamps_ms=times)
        assert await publisher.send_all([]) == []
    assert len({(c.topic, c.partition) for c in coordinates}) == 3
    found = {}
    async for got in follow(settings, [topics.RAW, topics.DEAD], stop_at_end=True):
        found[got.topic, got.partition, got.offset] = got
    assert len(found) == len(records)
    for record, place, at_ms in zip(records, coordinates, times, strict=True):
        read = found[place.topic, place.partition, place.offset]
        assert (read.key, read.value, read.timestamp) == (record.key, record.value, at_ms)
        assert [tuple(header) for header in read.headers] == list(record.headers)


async def test_a_record_larger_than_a_batch_goes_through(settings: Settings) -> None:
    """Between a batch's usual size and what brokers take, it travels alone."""
    await create_topics(settings)
    records = [Outgoing(topics.LOOP.name, None, b"x" * size) for size in (10, 1_500_000, 10)]
    async with Publisher(settings) as publisher:
        coordinates = await publisher.send_all(records)
    assert [place.offset for place in coordinates] == [0, 1, 2]


async def test_a_record_that_is_too_large_stops_the_batch_unsent(settings: Settings) -> None:
    """Nothing of a call with an impossible record is published."""
    await create_topics(settings)
    records = [Outgoing(topics.LOOP.name, None, b"fine"), Outgoing(topics.LOOP.name, None, b"x" * 2_100_000)]
    async with Publisher(settings) as publisher:
        with pytest.raises(Fatal, match="larger than brokers take"):
            await publisher.send_all(records)
    assert [record async for record in follow(settings, [topics.LOOP], stop_at_end=True)] == []
