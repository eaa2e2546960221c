"""The `streams` worker as users run it: a process, a real broker, and a kill -9 in the middle."""

import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings, load
from schemas import codec, topics
from schemas.clean import Clean
from schemas.dead import Dead
from schemas.errors import Reason
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
EVENTS = 3000


@pytest.fixture
def environment(stack: Endpoints, unique: str, tmp_path: Path) -> dict[str, str]:
    """The environment of a worker that has topics of its own."""
    return environment_of(stack, tmp_path, CONFIG.format(prefix=unique))


def _raw(number: int) -> Outgoing:
    source = f"shop/{number % 7}"
    data = {"method": "GET", "path": f"/item/{number}", "query": "a=%27%20OR%201=1"}
    event = structured(str(number), source, Kind.API, data)
    return Outgoing(topics.RAW.name, source.encode(), json.dumps(event).encode())


async def _clean(settings: Settings) -> list[Clean]:
    return [
        codec.decode(record.value or b"", Clean)
        async for record in follow(settings, [topics.CLEAN], stop_at_end=True)
    ]


@pytest.mark.timeout(240)
async def test_a_killed_worker_loses_and_doubles_nothing_and_remembers(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Each event comes out once although all are sent twice and the worker is killed between the copies."""
    settings = load(environment)
    await create_topics(settings)
    log = tmp_path / "worker.log"

    def cleaned(least: int) -> Callable[[], Awaitable[bool]]:
        async def reached() -> bool:
            return len(await _clean(settings)) >= least

        return reached

    async with Publisher(settings) as publisher:
        await publisher.send_all([_raw(number) for number in range(EVENTS)])
        worker = start_worker("streams", environment, log)
        try:
            await aeventually(cleaned(1), timeout_s=60, every_s=0.5)
        finally:
            worker.kill()
            worker.wait(10)
        await publisher.send_all([_raw(number) for number in range(EVENTS + 10)])
        worker = start_worker("streams", environment, log)
        try:
            await aeventually(cleaned(EVENTS + 10), timeout_s=60, every_s=0.5)
        finally:
            worker.terminate()
            assert worker.wait(20) == 0
    clean = await _clean(settings)
    assert Counter((event.source, event.id) for event in clean) == Counter(
        {(f"shop/{number % 7}", str(number)): 1 for number in range(EVENTS + 10)}
    )
    assert clean[0].text.endswith("a=' OR <num>=<num>")


@pytest.mark.timeout(120)
async def test_bad_input_is_kept_with_its_reason(environment: dict[str, str], tmp_path: Path) -> None:
    """Each broken record goes to the dead letters with its own reason and bytes."""
    settings = load(environment)
    await create_topics(settings)
    bad = {
        Reason.EMPTY: b"",
        Reason.MALFORMED_JSON: b'{"specversion": ',
        Reason.INVALID_UTF8: b'{"specversion": "1.0\xff"}',
        Reason.NOT_CLOUDEVENTS: b'{"hello": 1}',
        Reason.MISSING_ID: json.dumps(
            {**structured("", "s", Kind.API, {"method": "G", "path": "/"})}
        ).encode(),
        Reason.BAD_TIMESTAMP: json.dumps(
            structured("1", "s", Kind.API, {"method": "G", "path": "/"}, time="yesterday")
        ).encode(),
        Reason.UNKNOWN_STREAM: json.dumps(
            structured("2", "s", Kind.API, {"method": "G", "path": "/"}, stream="nowhere")
        ).encode(),
        Reason.OVERSIZED: b"x" * 300_000,
    }
    async with Publisher(settings) as publisher:
        await publisher.send_all([Outgoing(topics.RAW.name, b"key", value) for value in bad.values()])
        await publisher.send_all([_raw(1)])
    worker = start_worker("streams", environment, tmp_path / "worker.log")

    async def letters() -> list[Dead] | None:
        found = [
            codec.decode(record.value or b"", Dead)
            async for record in follow(settings, [topics.DEAD], stop_at_end=True)
        ]
        return found if len(found) >= len(bad) else None

    try:
        found = await aeventually(letters, timeout_s=60, every_s=0.5)
        passed = [event.id for event in await _clean(settings)]
    finally:
        worker.terminate()
        worker.wait(20)
    assert {letter.reason: letter.original for letter in found or ()} == bad
    assert passed == ["1"]


def _reading(number: int) -> bytes:
    source = f"press/{number % 5}"
    return json.dumps(
        structured(str(number), source, Kind.SENSOR, {"values": {"bar": 6 + number % 3 / 8}})
    ).encode()


@pytest.mark.timeout(120)
async def test_every_compression_is_read_and_what_was_aborted_is_not(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Publishers compress as they like; of transactions only the committed events come out, each once."""
    settings = load(environment)
    await create_topics(settings)
    topic = settings.topic(topics.RAW)
    numbers = iter(range(10_000))
    expected = []
    for compression in (None, "gzip", "snappy", "lz4", "zstd"):
        async with AIOKafkaProducer(
            bootstrap_servers=settings.endpoints.kafka, compression_type=compression
        ) as producer:
            for number in itertools.islice(numbers, 200):
                expected.append(number)
                await producer.send(topic, _reading(number), key=b"press/%d" % (number % 5))
    for commit in (False, True, False):
        async with AIOKafkaProducer(
            bootstrap_servers=settings.endpoints.kafka, transactional_id=f"{topic}-test"
        ) as producer:
            await producer.begin_transaction()
            for number in itertools.islice(numbers, 50):
                if commit:
                    expected.append(number)
                await producer.send(topic, _reading(number), key=b"press/%d" % (number % 5))
            await (producer.commit_transaction() if commit else producer.abort_transaction())
    worker = start_worker("streams", environment, tmp_path / "worker.log")

    async def enough() -> bool:
        return len(await _clean(settings)) >= len(expected)

    try:
        await aeventually(enough, timeout_s=60, every_s=0.5)
    finally:
        worker.terminate()
        worker.wait(20)
    assert sorted(int(event.id) for event in await _clean(settings)) == expected
