"""The inference worker against real Kafka and Redis: one answer per event, whatever happens to the models."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings
from schemas import codec, topics
from schemas.clean import Clean
from schemas.dead import Dead
from schemas.errors import Reason
from schemas.prediction import Prediction
from schemas.record import Coordinates, Kind, Outgoing
from schemas.release import Swap, Task
from serving import consumer
from serving.cache import Shared, keys
from serving.follow_releases import ANSWERED
from serving.predictor import Answer
from tests.running import JUDGED, announce, beside, read, settings_of
from tests.unit.serving.releases import lay_out, reseal, sensor, tiny_text
from tests.unit.serving.texts import TEXTS
from tests.waiting import aeventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

WHEN = datetime(2026, 3, 4, tzinfo=UTC)


@pytest.fixture
async def settings(stack: Endpoints, unique: str, tmp_path: Path) -> Settings:
    """Settings with topics of this test's own."""
    made = settings_of(stack, unique, tmp_path, JUDGED)
    await create_topics(made)
    return made


def request(number: int, *, text: str = "", stream: str = "requests") -> Clean:
    """A clean request with a text of its own."""
    return Clean(
        stream=stream,
        kind=Kind.API,
        source=f"/shop/{number % 7}",
        id=f"r{number}",
        time=WHEN + timedelta(seconds=number),
        raw=Coordinates("events.raw", 0, number),
        text=text or f"{TEXTS[number % len(TEXTS)]} {number % 48}",
    )


def reading(number: int, cpu: float) -> Clean:
    """A clean sensor reading without its `memory`."""
    return Clean(
        stream="host",
        kind=Kind.SENSOR,
        source="/host/1",
        id=f"h{number}",
        time=WHEN + timedelta(seconds=number),
        raw=Coordinates("events.raw", 0, number),
        values={"cpu": cpu, "disk": 10.0, "other": 1.0},
    )


async def publish(settings: Settings, events: Sequence[Clean]) -> list[Coordinates]:
    """Write clean events as the cleaning stage does."""
    async with Publisher(settings) as publisher:
        return await publisher.send_all(
            [Outgoing(topics.CLEAN.name, event.source.encode(), codec.encode(event)) for event in events]
        )


async def predicted(settings: Settings, count: int) -> list[Prediction]:
    """Wait for `count` predictions and return all there are."""

    async def enough() -> list[Prediction]:
        found = await read(settings, topics.PREDICTIONS, Prediction)
        return found if len(found) >= count else []

    return await aeventually(enough, 60.0, 0.2)


async def swap_to(settings: Settings, version: int, outcome: str) -> Swap:
    """Wait for a swap record."""

    async def there() -> list[Swap]:
        swaps = await read(settings, topics.SWAPS, Swap)
        return [swap for swap in swaps if (swap.version, swap.outcome) == (version, outcome)]

    return (await aeventually(there, 30.0, 0.1))[0]


def assert_once_each(
    predictions: Sequence[Prediction], events: Sequence[Clean], where: Sequence[Coordinates]
) -> None:
    """Every event has one prediction, at its coordinates, with its identity and its raw coordinates."""
    expected = {at: (event.source, event.id, event.raw) for event, at in zip(events, where, strict=True)}
    got = {p.event: (p.source, p.id, p.raw) for p in predictions}
    assert len(predictions) == len(got) == len(events)
    assert got == expected


def assert_right_version(predictions: Sequence[Prediction], swaps: Sequence[Swap]) -> None:
    """Each prediction carries the version that the ledger says was answering at its offset."""
    ledger: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    for swap in swaps:
        if swap.outcome == ANSWERED:
            for place, offset in swap.first_offsets.items():
                ledger.setdefault((swap.model, place), []).append((offset, swap.version, swap.sha256))
    for p in predictions:
        entries = ledger[p.model, f"{p.event.topic}:{p.event.partition}"]
        assert len({offset for offset, _, _ in entries}) == len(entries)
        assert max(e for e in entries if e[0] <= p.event.offset)[1:] == (p.version, p.sha256)


async def test_answers_follow_the_releases(settings: Settings) -> None:
    """One prediction per event; a swap in mid-stream has one boundary; bad candidates change nothing."""
    first = lay_out(settings.releases, tiny_text(1), model="requests", version=1, serve="int8")
    bad = reseal(
        lay_out(settings.releases, tiny_text(2), model="requests", version=2),
        "model.fp32.onnx",
        b"not a graph",
    )
    forged = msgspec.structs.replace(first, version=3, sha256="0" * 64)
    second = lay_out(settings.releases, tiny_text(2), model="requests", version=4, serve="fp32")
    await announce(settings, first)
    events = [request(number) for number in range(600)]
    async with beside(consumer.run(settings)):
        where = await publish(settings, events[:200])
        await predicted(settings, 200)
        await announce(settings, bad)
        await announce(settings, forged)
        assert "does not load" in (await swap_to(settings, 2, "rejected")).message
        assert "sha256" in (await swap_to(settings, 3, "rejected")).message
        flowing = asyncio.create_task(publish(settings, events[200:400]))
        await announce(settings, second)
        where += await flowing
        await swap_to(settings, 4, "swapped")
        where += await publish(settings, events[400:])
        predictions = await predicted(settings, 600)
    assert_once_each(predictions, events, where)
    assert_right_version(predictions, await read(settings, topics.SWAPS, Swap))
    assert {p.version for p in predictions} == {1, 4}
    assert all(p.version == 4 for p in predictions if int(p.id[1:]) >= 400)
    assert any(p.cached for p in predictions)
    by_text: dict[tuple[str, int], list[Prediction]] = {}
    texts = {event.id: event.text for event in events}
    for p in predictions:
        by_text.setdefault((texts[p.id], p.version), []).append(p)
    for answers in by_text.values():
        assert len({answer.label for answer in answers}) == 1
        assert max(answer.score for answer in answers) - min(answer.score for answer in answers) < 1e-5


async def test_poison_and_unserved_streams_harm_no_other_event(settings: Settings) -> None:
    """A row that the model cannot answer goes to `events.dead`; a stream without a release waits."""
    await announce(settings, lay_out(settings.releases, sensor(1, Task.ANOMALY), model="host", version=1))
    good = [reading(number, 50.0 + number) for number in range(20)]
    poison = reading(99, 1e300)
    async with beside(consumer.run(settings)):
        await publish(settings, [request(1, stream="logs"), request(2)])
        where = await publish(settings, [*good[:10], poison, *good[10:]])
        predictions = await predicted(settings, 20)
        dead = await aeventually(lambda: read(settings, topics.DEAD, Dead), 20.0)
    assert_once_each(predictions, good, where[:10] + where[11:])
    assert [(d.reason, d.stage, d.id) for d in dead] == [(Reason.POISON, "serving", "h99")]
    assert codec.decode(dead[0].original, Clean) == poison


async def test_answers_are_shared_through_redis(stack: Endpoints, unique: str) -> None:
    """What one worker put, another one gets; rubbish in Redis counts as unknown."""
    wanted = keys("0" * 64, ["a", "b", "c"])
    known = {wanted[0]: Answer("benign", 0.1 + 0.2), wanted[1]: Answer("sqli", 1.0)}
    first, second = (Shared(stack.redis, prefix=unique, patience_s=5.0) for _ in range(2))
    first.put(known)
    await first.close()
    assert await second.get(wanted) == known
    async with Redis.from_url(stack.redis) as redis:
        await redis.set(f"{unique}headrace/answer/".encode() + wanted[1], b"rubbish")
    assert await second.get(wanted) == {wanted[0]: known[wanted[0]]}
    await second.close()


async def test_a_restart_loses_and_doubles_nothing(settings: Settings) -> None:
    """Cancelled and started again in mid-stream, the worker goes on with the champion, exactly once.

    The newest release is a bad one by then, so the champion is one announced before it.
    """
    await announce(
        settings, lay_out(settings.releases, tiny_text(1), model="requests", version=1, serve="int8")
    )
    events = [request(number, text=f"{TEXTS[number % 144]} {number}") for number in range(4000)]
    where = await publish(settings, events)
    for least in (1, 1000, 2000):
        async with beside(consumer.run(settings)):
            found = await predicted(settings, least)
        assert least > 1 or len(found) < 4000
        if least == 1:
            corrupt = lay_out(settings.releases, tiny_text(2), model="requests", version=2)
            (settings.releases / "requests" / "2" / "tokenizer.json").write_bytes(b"{}")
            await announce(settings, corrupt)
    async with beside(consumer.run(settings)):
        predictions = await predicted(settings, 4000)
    assert_once_each(predictions, events, where)
    assert_right_version(predictions, await read(settings, topics.SWAPS, Swap))
    assert {p.version for p in predictions} == {1}
