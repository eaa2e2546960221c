"""Streams of high priority on a worker that cannot keep up: real Kafka, one partition that all share."""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.log import get_logger
from infra.runtime.settings import Endpoints, Settings, parse
from schemas import codec, topics
from schemas.clean import Clean
from schemas.prediction import Prediction
from schemas.record import Coordinates, Kind, Outgoing
from schemas.release import Swap, Task
from serving import consumer
from tests.live.test_serving import (
    WHEN,
    assert_once_each,
    assert_right_version,
    predicted,
    publish,
    swap_to,
)
from tests.running import announce, beside, read
from tests.unit.serving.releases import lay_out, sensor, tiny_text
from tests.unit.serving.texts import TEXTS
from tests.waiting import aeventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

CONFIG = """
topic_prefix = "{prefix}."
[streams.crawl]
kind = "log"
[streams.crawl.model]
[streams.payments]
kind = "sensor"
[streams.payments.model]
task = "anomaly"
priority = "{priority}"
"""
_log = get_logger(__name__)
FLOOD = 40_000  # some ten seconds of work, on a quick machine too


def world(stack: Endpoints, unique: str, home: Path, priority: str = "high") -> Settings:
    """Settings with topics of this test's own."""
    return Settings(home, parse(CONFIG.format(prefix=unique, priority=priority), "the test"), stack)


def flood(count: int) -> list[Clean]:
    """Texts that no cache knows: each takes the model's time."""
    return [
        Clean(
            stream="crawl", kind=Kind.LOG, source="/one", id=f"c{number}",
            time=WHEN + timedelta(seconds=number), raw=Coordinates("events.raw", 0, number),
            text=" ".join(f"{TEXTS[(number + turn) % len(TEXTS)]} {number}" for turn in range(6)),
        )
        for number in range(count)
    ]  # fmt: skip


def payment(number: int) -> Clean:
    """An event of the urgent stream, of the same source: it lies in the same partition."""
    return Clean(
        stream="payments", kind=Kind.SENSOR, source="/one", id=f"p{number}",
        time=WHEN + timedelta(seconds=number), raw=Coordinates("events.raw", 1, number),
        values={"cpu": 50.0 + number % 7, "disk": 10.0, "memory": 30.0},
    )  # fmt: skip


async def released(settings: Settings) -> None:
    """Announce a model for each stream."""
    await create_topics(settings)
    text = lay_out(settings.releases, tiny_text(1), model="crawl", version=1, serve="int8")
    await announce(settings, text)
    await announce(settings, lay_out(settings.releases, sensor(1, Task.ANOMALY), model="payments", version=1))


async def trickle(settings: Settings, numbers: Sequence[int]) -> dict[str, float]:
    """Publish urgent events one after another, 20 a second; return when each was acknowledged."""
    sent = {}
    async with Publisher(settings, "payments") as publisher:
        for number in numbers:
            event = payment(number)
            await publisher.send(Outgoing(topics.CLEAN.name, event.source.encode(), codec.encode(event)))
            sent[event.id] = time.time()
            await asyncio.sleep(0.05)
    return sent


async def answered(settings: Settings) -> dict[str, float]:
    """Return when each prediction was written, by event id."""
    records = follow(settings, [topics.PREDICTIONS], stop_at_end=True)
    return {
        codec.decode(record.value or b"", Prediction).id: record.timestamp / 1000 async for record in records
    }


async def all_of(settings: Settings, count: int) -> bool:
    """Tell whether so many events have their answer."""
    return len(await answered(settings)) >= count


async def waits(settings: Settings, numbers: Sequence[int]) -> list[float]:
    """Publish urgent events and return how long each waited for its answer, ascending, in seconds."""
    sent = await trickle(settings, numbers)

    async def all_there() -> dict[str, float]:
        found = await answered(settings)
        return found if sent.keys() <= found.keys() else {}

    found = await aeventually(all_there, 60.0, 0.5)
    return sorted(max(0.0, found[id] - at) for id, at in sent.items())


async def test_urgent_events_do_not_wait_for_a_flood(stack: Endpoints, unique: str, tmp_path: Path) -> None:
    """In one partition with a backlog of another stream they wait little longer than without it.

    Every event of both streams has its one answer in the end, and the others go on meanwhile.
    """
    settings = world(stack, unique, tmp_path)
    await released(settings)
    async with beside(consumer.run(settings)):
        await swap_to(settings, 1, "swapped")
        await waits(settings, [0])  # the partitions are assigned then
        alone = await waits(settings, range(1, 40))
        rest = flood(FLOOD)
        where = await publish(settings, rest)
        among = await waits(settings, range(40, 100))
        left = FLOOD - sum(id.startswith("c") for id in await answered(settings))
        _log.info("priority.measured", alone_s=alone[-2:], beside_a_flood_s=among[-2:], left=left)
        assert 0 < left < FLOOD
        assert among[int(0.99 * len(among)) - 1] < alone[-1] + 1.0
        await aeventually(lambda: all_of(settings, FLOOD + 100), 90.0, 2.0)
    predictions = await read(settings, topics.PREDICTIONS, Prediction)
    ours = [p for p in predictions if p.stream == "crawl"]
    assert_once_each(ours, rest, where)
    assert sorted(p.id for p in predictions if p.stream == "payments") == sorted(f"p{n}" for n in range(100))


async def test_starts_and_other_priorities_lose_and_double_nothing(
    stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """Stopped in mid-backlog again and again, then with another priority: each event is answered once."""
    events = flood(3000)
    for number in range(300):
        events.insert(number * 10, payment(number))
    for turn, priority in enumerate(("high", "normal", "high", "high", "normal")):
        settings = world(stack, unique, tmp_path, priority)
        if not turn:
            await released(settings)
            where = await publish(settings, events)
        async with beside(consumer.run(settings)):
            await predicted(settings, 1 if not turn else min(len(events), 500 * turn))
    async with beside(consumer.run(settings)):
        predictions = await predicted(settings, len(events))
    assert_once_each(predictions, events, where)
    assert_right_version(predictions, await read(settings, topics.SWAPS, Swap))
    for stream in ("crawl", "payments"):
        ours = [int(p.id[1:]) for p in predictions if p.stream == stream]
        assert ours == sorted(ours)
