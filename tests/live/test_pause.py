"""Pause, resume and reset as operators order them, against the real worker and broker."""

import asyncio
import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from infra.cli.main import app
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.metrics.server import addresses
from infra.runtime.settings import Endpoints, Settings, load
from schemas import codec, topics
from schemas.clean import Clean
from schemas.raw import structured
from schemas.record import Kind, Outgoing
from tests.installation import environment_of, start_worker
from tests.waiting import aeventually

pytestmark = pytest.mark.live

CONFIG = """
topic_prefix = "{prefix}."
[streams.requests]
kind = "api"
[streams.host]
kind = "sensor"
"""
DATA: dict[Kind, dict[str, Any]] = {
    Kind.API: {"method": "GET", "path": "/"},
    Kind.SENSOR: {"values": {"cpu": 1.0}},
}


@pytest.fixture
def environment(
    stack: Endpoints, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """An installation of the test's own, for this process and for its workers."""
    found = environment_of(stack, tmp_path, CONFIG.format(prefix=unique))
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


@contextmanager
def worker(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The cleaning worker as the stack runs it, ended afterwards."""
    process = start_worker("streams", environment, Path(environment["HEADRACE_HOME"]) / "worker.log")
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


async def headrace(*arguments: str) -> str:
    """Run a command; its output, whatever its exit status."""
    result = await asyncio.to_thread(CliRunner().invoke, app, list(arguments))
    return result.output + (str(result.exception) if result.exception else "")


async def publish(settings: Settings, kind: Kind, first: int, last: int) -> None:
    """Publish numbered events of a kind."""
    records = []
    for number in range(first, last):
        source = f"{kind.value}/{number % 3}"
        event = structured(str(number), source, kind, DATA[kind])
        records.append(Outgoing(topics.RAW.name, source.encode(), json.dumps(event).encode()))
    async with Publisher(settings) as publisher:
        await publisher.send_all(records)


async def cleaned(settings: Settings) -> list[Clean]:
    """All clean events, those of a partition in their order."""
    return [
        codec.decode(record.value or b"", Clean)
        async for record in follow(settings, [topics.CLEAN], stop_at_end=True)
    ]


async def reach(settings: Settings, **wanted: int) -> Counter[str]:
    """Wait until so many clean events of each stream are there; return how many are."""

    async def there() -> Counter[str] | None:
        found = Counter(event.stream for event in await cleaned(settings))
        return found if all(found[name] >= count for name, count in wanted.items()) else None

    counts = await aeventually(there, timeout_s=60, every_s=0.3)
    assert counts is not None
    return counts


async def parked(settings: Settings) -> int:
    """How many records were ever parked."""
    return len([record async for record in follow(settings, [topics.PARKED], stop_at_end=True)])


@pytest.mark.timeout(180)
async def test_a_paused_stream_waits_and_the_others_go_on(environment: dict[str, str]) -> None:
    """Across a restart nothing of it comes out; resumed, each event does, once and in its source's order."""
    settings = load(environment)
    await create_topics(settings)
    said = await headrace("streams", "pause", "requests", "--reason", "test traffic", "--by", "maria")
    assert "requests paused" in said
    with worker(environment) as first:
        await publish(settings, Kind.API, 0, 300)
        await publish(settings, Kind.SENSOR, 0, 300)
        assert await reach(settings, host=300) == {"host": 300}
        await aeventually(lambda: _at_least(settings, 300), timeout_s=30)
        first.kill()
        first.wait(10)
    with worker(environment):
        await publish(settings, Kind.API, 300, 600)
        await headrace("streams", "pause", "host")
        await headrace("streams", "resume", "host")
        await publish(settings, Kind.SENSOR, 300, 400)
        assert await reach(settings, host=400) == {"host": 400}
        await aeventually(lambda: _at_least(settings, 600), timeout_s=30)
        listed = json.loads(await headrace("streams", "list", "--json"))
        requests = next(row for row in listed["streams"] if row["name"] == "requests")
        assert (requests["state"], requests["by"], requests["reason"]) == ("paused", "maria", "test traffic")
        assert listed["parked"] > 0
        (url,) = addresses(settings.home).values()
        async with httpx.AsyncClient(trust_env=False) as client:
            told = (await client.get(url)).text
        assert 'headrace_paused{name="requests",scope="stream"} 1.0' in told
        assert 'headrace_events_accepted_total{stream="host"}' in told
        assert "headrace_transaction_seconds_count" in told
        assert "headrace_consumer_lag_records{" in told
        assert 'headrace_watermark_delay_seconds{stream="host"}' in told
        await headrace("streams", "resume", "requests")
        assert await reach(settings, requests=600) == {"host": 400, "requests": 600}
    events = [event for event in await cleaned(settings) if event.stream == "requests"]
    assert Counter(event.id for event in events) == Counter(map(str, range(600)))
    for source in {event.source for event in events}:
        numbers = [int(event.id) for event in events if event.source == source]
        assert numbers == sorted(numbers)
    assert {event.raw.topic for event in events} == {settings.topic(topics.RAW)}


async def _at_least(settings: Settings, records: int) -> bool:
    return await parked(settings) >= records


@pytest.mark.timeout(180)
async def test_a_reset_is_refused_while_workers_run_and_doubles_nothing(environment: dict[str, str]) -> None:
    """A running worker is named; read again from the earliest, every event is dropped as a copy."""
    settings = load(environment)
    await create_topics(settings)
    await publish(settings, Kind.API, 0, 200)
    with worker(environment):
        await reach(settings, requests=200)
        refused = await headrace("streams", "reset", "clean", "--to", "earliest", "--yes")
        assert "stop them first" in refused
        assert "127.0.0.1" in refused

    async def moved() -> bool:
        told = await headrace("streams", "reset", "clean", "--to", "earliest", "--yes", "--json")
        return '"reset":true' in told and '"read_again":200' in told

    await aeventually(moved, timeout_s=30, every_s=1.0)
    with worker(environment):
        await publish(settings, Kind.API, 200, 210)
        assert await reach(settings, requests=210) == {"requests": 210}
    assert "cannot be reset" in await headrace("streams", "reset", "sink", "--to", "earliest")
    history = [record async for record in follow(settings, [topics.CONTROL], stop_at_end=True)]
    assert len(history) == 1


@pytest.mark.timeout(120)
async def test_a_paused_stage_takes_nothing_until_it_is_resumed(environment: dict[str, str]) -> None:
    """A worker that starts while its stage is paused holds its partitions and cleans nothing."""
    settings = load(environment)
    await create_topics(settings)
    await headrace("streams", "pause", "--stage", "clean")
    await publish(settings, Kind.API, 0, 50)
    with worker(environment):

        async def owned() -> bool:
            listed = json.loads(await headrace("streams", "list", "--json"))
            stage = next(row for row in listed["stages"] if row["name"] == "clean")
            return bool(stage["workers"] == 1 and stage["lag"] == 50)

        await aeventually(owned, timeout_s=40)
        assert await cleaned(settings) == []
        await headrace("streams", "resume", "--stage", "clean")
        assert await reach(settings, requests=50) == {"requests": 50}
