"""Drift is watched the same on every engine: windows close, and alerts are written, once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import NamedTuple

import pytest

from infra.flink import control
from infra.flink.control import Cluster
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.partitioner import partition_of
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings, load, parse
from schemas import topics
from schemas.clean import Clean
from schemas.codec import encode
from schemas.drift import DriftAlert
from schemas.record import Coordinates, Kind, Outgoing
from streams.drift.batch import CleanBatch
from streams.drift.log import written_alerts
from streams.drift.watch import DriftWatch
from tests.installation import environment_of, start_worker
from tests.waiting import aeventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(150)]

WINDOW_S = 5.0
WATCHED = 'drift = { input = { window = "5s", reference = 1000, min_events = 300 } }'
CONFIG = f"""
topic_prefix = "{{prefix}}"
[streams.requests]
kind = "api"
{WATCHED}
[streams.plant]
kind = "sensor"
{WATCHED}
"""
EVENTS = 18_000
RATE = 200
AT_ONCE = 500
WORDS = ("red", "blue", "teapot", "lamp", "jacket", "shoes", "cart", "order", "size", "page")


class Told(NamedTuple):
    """What must be the same of an alert; of a raised one its moment too, by up to a window."""

    stream: str
    signal: str
    recovered: bool
    since_s: float


def cleaned(start: datetime, seed: int = 3) -> list[Clean]:
    """Return events of two streams by turns, one source each; a third in, until two thirds, both shift."""
    rng = Random(seed)
    made = []
    for number in range(EVENTS):
        shifted = EVENTS // 3 <= number < 2 * EVENTS // 3
        time = start + timedelta(seconds=number / RATE)
        place = Coordinates("events.raw", 0, number)
        made.append((_sensor if number % 2 else _request)(rng, str(number), time, place, shifted))
    return made


def _sensor(rng: Random, id: str, time: datetime, raw: Coordinates, shifted: bool) -> Clean:
    values = {"level": rng.gauss(3.0 if shifted else 0.0, 1.0), "load": rng.random()}
    return Clean(stream="plant", kind=Kind.SENSOR, source="grid/1", id=id, time=time, raw=raw, values=values)


def _request(rng: Random, id: str, time: datetime, raw: Coordinates, shifted: bool) -> Clean:
    text = "UNION SELECT password FROM users--" if shifted else " ".join(rng.choices(WORDS, k=5))
    return Clean(stream="requests", kind=Kind.API, source="shop/1", id=id, time=time, raw=raw, text=text)


def in_memory(events: Sequence[Clean]) -> list[Told]:
    """Return what watches without an engine say."""
    streams = parse(CONFIG.replace("{prefix}", ""), "the test").streams
    told = []
    for name, config in streams.items():
        watch = DriftWatch(name, config)
        own = [clean for clean in events if clean.stream == name]
        for at in range(0, len(own), AT_ONCE):
            part = own[at : at + AT_ONCE]
            batch = CleanBatch("events.clean", 0, range(at, at + len(part)), part)
            told += [seen(alert) for alert in watch.clean(batch, part[-1].time)]
    return sorted(told)


async def on_worker(
    events: Sequence[Clean], settings: Settings, environment: dict[str, str], count: int, _: Cluster
) -> list[Told]:
    """Run the drift worker."""
    await publish(settings, events)
    worker = start_worker("drift", environment, settings.home / "drift.log")
    try:
        return await alerts(settings, count)
    finally:
        worker.terminate()
        worker.wait(20)


async def on_flink(
    events: Sequence[Clean], settings: Settings, environment: dict[str, str], count: int, cluster: Cluster
) -> list[Told]:
    """Run the job over half of it, stop it with a savepoint while a drift stands, and go on with one task."""
    name = settings.config.topic_prefix
    arguments = ["--bootstrap", settings.endpoints.kafka, "--config", environment["HEADRACE_CONFIG"]]
    module = "streams.jobs.windows"
    before = len(events) * 2 // 3
    await publish(settings, events[:before])
    await asyncio.to_thread(control.run, cluster, name, module, 2, arguments)
    await alerts(settings, 2)
    await asyncio.to_thread(control.stop, cluster, name, "", 60.0)
    await publish(settings, events[before:])
    await asyncio.to_thread(control.run, cluster, name, module, 1, arguments, "last")
    try:
        return await alerts(settings, count)
    finally:
        await asyncio.to_thread(control.cancel, cluster, name)


@pytest.mark.parametrize("run", [on_worker, on_flink], ids=["worker", "flink, stopped and rescaled"])
async def test_engines_tell_of_the_same_drifts(
    run: Callable[..., Awaitable[list[Told]]],
    flink: Cluster,
    stack: Endpoints,
    unique: str,
    tmp_path: Path,
) -> None:
    """The same alerts and recoveries, each once, from the same windows."""
    recent_s = (datetime.now(UTC) - timedelta(minutes=10)).timestamp()
    events = cleaned(datetime.fromtimestamp(recent_s // WINDOW_S * WINDOW_S, UTC))  # as windows begin
    specified = in_memory(events)
    assert {(one.stream, one.recovered) for one in specified} == {
        (stream, over) for stream in ("plant", "requests") for over in (False, True)
    }
    environment = environment_of(stack, tmp_path, CONFIG.replace("{prefix}", unique))
    settings = load(environment)
    await create_topics(settings)
    found = await run(events, settings, environment, len(specified), flink)
    assert [one[:3] for one in found] == [one[:3] for one in specified]
    for one, other in zip(found, specified, strict=True):
        # When it is over is told at the end of a batch, so by how far event time had come by then.
        assert one.recovered or abs(one.since_s - other.since_s) <= WINDOW_S


async def publish(settings: Settings, events: Sequence[Clean]) -> None:
    """Publish to `events.clean`, keyed as the cleaning stage does."""
    async with Publisher(settings) as publisher:
        await publisher.send_all(list(_records(events)))


def _records(events: Sequence[Clean]) -> Iterator[Outgoing]:
    for clean in events:
        key = clean.source.encode()
        yield Outgoing(topics.CLEAN.name, key, encode(clean), partition_of(key, topics.CLEAN.partitions))


async def alerts(settings: Settings, count: int) -> list[Told]:
    """Wait until so many alerts are written, and return them."""
    found: list[Told] = []

    async def enough() -> bool:
        nonlocal found
        found = sorted(seen(alert) for alert in await written_alerts(settings))
        return len(found) >= count

    await aeventually(enough, timeout_s=60, every_s=0.5)
    return found


def seen(alert: DriftAlert) -> Told:
    """Return what is compared of an alert."""
    since = alert.since.timestamp()
    return Told(alert.stream, alert.signal.value, alert.recovered, since)
