"""`GET /v1/predictions/stream` against a real broker: what is committed, once, and on from an id."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.settings import Endpoints, Settings, parse
from schemas import codec, topics
from schemas.prediction import Prediction
from schemas.record import Coordinates
from serving.gateway.app import run
from tests.running import gateway
from tests.unit.serving.releases import CREATED_AT
from tests.waiting import aeventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(120)]

CONFIG = 'topic_prefix = "{prefix}."\n[streams.requests]\nkind = "api"\n[streams.logs]\nkind = "log"\n'


@pytest.fixture
async def settings(stack: Endpoints, unique: str, tmp_path: Path) -> Settings:
    """Settings with topics of this test's own."""
    made = Settings(tmp_path, parse(CONFIG.format(prefix=unique), "the test"), stack)
    await create_topics(made)
    return made


@pytest.fixture
async def http(settings: Settings) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a running gateway."""
    async with gateway(settings) as record, aiohttp.ClientSession(record["url"]) as session:
        yield session


class Listener:
    """Reads a stream's events; `last` is the id to go on from."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._lines = response.content
        self.last = ""

    async def heartbeat(self) -> None:
        """Read until an event without data."""
        assert await self._event() is None

    async def take(self, count: int) -> list[str]:
        """Return the ids of the next predictions."""
        found: list[str] = []
        while len(found) < count:
            value = await self._event()
            if value is not None:
                found.append(value["id"])
        return found

    async def _event(self) -> dict[str, Any] | None:
        value = None
        while line := (await self._lines.readline()).rstrip(b"\n"):
            name, _, text = line.partition(b": ")
            if name == b"id":
                self.last = text.decode()
            elif name == b"data":
                value = json.loads(text)
        return value


@contextlib.asynccontextmanager
async def stream(http: aiohttp.ClientSession, last: str = "", **wanted: str) -> AsyncIterator[Listener]:
    """Open a stream and wait until it is in place."""
    headers = {"last-event-id": last} if last else {}
    async with http.get("/v1/predictions/stream", params=wanted, headers=headers) as response:
        assert response.status == 200, await response.text()
        assert response.headers["content-type"] == "text/event-stream"
        listener = Listener(response)
        await listener.heartbeat()
        yield listener


def prediction(number: int, stream: str = "requests", source: str = "shop") -> Prediction:
    """Build a prediction."""
    return Prediction(
        stream=stream, source=source, id=str(number), label="sqli", score=0.5, model=stream, version=1,
        event=Coordinates("events.clean", 0, number), raw=Coordinates("events.raw", 0, number),
        event_time=CREATED_AT, sha256="ab", predicted_at=CREATED_AT,
    )  # fmt: skip


async def answer(settings: Settings, *predictions: Prediction, commit: bool = True) -> None:
    """Write predictions in one transaction, as the serving worker does."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.endpoints.kafka, transactional_id=f"t-{settings.config.topic_prefix}"
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        for one in predictions:
            await producer.send_and_wait(
                settings.topic(topics.PREDICTIONS), codec.encode(one), key=one.source.encode()
            )
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    finally:
        await producer.stop()


async def visible(settings: Settings, count: int) -> None:
    """Wait until so many are there for readers: a commit is acknowledged before its markers are written."""

    async def there() -> bool:
        records = follow(settings, [topics.PREDICTIONS], start="beginning", stop_at_end=True)
        return len([record async for record in records]) >= count

    await aeventually(there, timeout_s=30)


async def test_predictions_come_and_go_on_from_an_id(http: aiohttp.ClientSession, settings: Settings) -> None:
    """New ones come in order; after a break none is missing and none doubled; aborted ones never come."""
    await answer(settings, prediction(0))
    await visible(settings, 1)
    async with stream(http) as listener:
        await answer(settings, prediction(1), prediction(2))
        await answer(settings, prediction(3), commit=False)
        await answer(settings, prediction(4), prediction(5))
        assert await listener.take(3) == ["1", "2", "4"]
        last = listener.last
    await answer(settings, prediction(6, source="a"), prediction(7, source="b"))
    async with stream(http, last) as listener:
        assert sorted(await listener.take(3)) == ["5", "6", "7"]
        last = listener.last
    async with stream(http, last) as listener:
        await answer(settings, prediction(8))
        assert await listener.take(1) == ["8"]


async def test_one_stream_or_source_is_asked_for(http: aiohttp.ClientSession, settings: Settings) -> None:
    """Only what was asked for comes; what is no id, or no stream, is refused."""
    async with stream(http, stream="requests") as requests, stream(http, source="b") as of_b:
        await answer(
            settings,
            prediction(1, "logs"),
            prediction(2),
            prediction(3, "logs", "b"),
            prediction(4, source="b"),
        )
        assert await requests.take(2) in (["2", "4"], ["4", "2"])
        assert await of_b.take(2) == ["3", "4"]
    for headers, params, status in (
        ({"last-event-id": "x"}, {}, 400),
        ({"last-event-id": "0:-1"}, {}, 400),
        ({}, {"stream": "nope"}, 404),
    ):
        async with http.get("/v1/predictions/stream", params=params, headers=headers) as response:
            assert response.status == status


async def test_a_stopping_gateway_ends_its_streams(
    http: aiohttp.ClientSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream ends in order when its gateway stops, long before the time that requests are given."""
    async with contextlib.AsyncExitStack() as stack:
        other = msgspec.json.decode((settings.home / "gateway.json").read_bytes())
        second = Settings(settings.home / "second", settings.config, settings.endpoints)
        task = asyncio.ensure_future(run(second))

        async def listening() -> bool:
            return (second.home / "gateway.json").is_file()

        await aeventually(listening, timeout_s=30)
        url = json.loads((second.home / "gateway.json").read_bytes())["url"]
        assert url != other["url"]
        session = await stack.enter_async_context(aiohttp.ClientSession(url))
        async with session.get("/v1/predictions/stream") as response:
            await Listener(response).heartbeat()
            task.cancel()
            async with asyncio.timeout(8):
                assert await response.content.read() == b""
                with contextlib.suppress(asyncio.CancelledError):  # how it ends
                    await task
