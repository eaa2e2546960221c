"""The gateway and the sources against the real broker, Redis and ClickHouse."""

import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from infra.clickhouse.migrate import migrate
from infra.demo.bad import WRONG
from infra.runtime.kafka.follow import follow
from infra.runtime.settings import Endpoints, Settings
from infra.runtime.warehouse import Warehouse
from schemas import codec, topics
from schemas.errors import Fatal
from schemas.label import Label
from schemas.prediction import Prediction
from schemas.raw import structured
from schemas.record import Coordinates, Kind
from schemas.topics import Topic
from serving.client import Client
from serving.gateway.app import run
from streams.sources import run as run_sources
from tests.running import STREAMS, beside, gateway, settings_of
from tests.waiting import aeventually

pytestmark = pytest.mark.live


@pytest.fixture
def settings(stack: Endpoints, unique: str, tmp_path: Path) -> Settings:
    """Settings with topics, a database and a data folder of their own."""
    return settings_of(stack, unique, tmp_path, STREAMS)


@pytest.fixture
async def url(settings: Settings) -> AsyncIterator[str]:
    """A running gateway's address."""
    async with gateway(settings) as record:
        yield record["url"]


@pytest.fixture
async def http(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A plain HTTP client of the gateway."""
    async with aiohttp.ClientSession(url) as session:
        yield session


async def post(
    http: aiohttp.ClientSession, body: bytes, media: str, path: str = "/v1/events", **headers: str
) -> tuple[int, Any]:
    """Post and return status and answer."""
    named = {"content-type": media, **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with http.post(path, data=body, headers=named) as response:
        return response.status, await response.json(content_type=None)


async def records(settings: Settings, topic: Topic) -> list[Any]:
    """Return what lies on a topic now."""
    return [record async for record in follow(settings, [topic], stop_at_end=True)]


def event(number: int, **attributes: str) -> dict[str, Any]:
    """Build an event."""
    return {**structured(str(number), "shop", Kind.API, {"method": "GET", "path": "/"}), **attributes}


async def test_every_binding_ends_on_the_topic(http: aiohttp.ClientSession, settings: Settings):
    """Structured, binary, batch and lines: 202 with the coordinates of just that event, keyed by source."""
    one = json.dumps(event(1)).encode()
    status, answer = await post(http, one, "application/cloudevents+json")
    assert (status, answer["id"]) == (202, "1")
    attributes = {"ce_id": "2", "ce_source": "shop", "ce_specversion": "1.0", "ce_type": event(2)["type"]}
    status, binary = await post(http, b'{"method":"GET","path":"/"}', "application/json", **attributes)
    assert status == 202
    batch = json.dumps([event(3), event(4)]).encode()
    assert (await post(http, batch, "application/cloudevents-batch+json"))[1]["accepted"] == 2
    lines = b"\n".join(json.dumps(event(n)).encode() for n in (5, 6))
    assert (await post(http, lines, "application/x-ndjson"))[1]["accepted"] == 2
    found = await records(settings, topics.RAW)
    assert [json.loads(record.value)["id"] for record in found] == ["1", "2", "3", "4", "5", "6"]
    assert {record.key for record in found} == {b"shop"}
    assert found[0].value == one
    place = binary["coordinates"]
    assert (place["topic"], place["partition"], place["offset"]) == (found[1].topic, found[1].partition, 1)


async def test_bad_events_get_their_reason_and_nothing_is_produced(
    http: aiohttp.ClientSession, settings: Settings
):
    """Each way to be wrong is a 4xx problem with its own reason, and Kafka sees none of it."""
    for reason, build in WRONG:
        status, answer = await post(http, build(event(1)), "application/cloudevents+json")
        assert 400 <= status < 500
        assert answer["reason"] == reason.value, answer
        assert "field" in answer
        assert answer["status"] == status
    large = json.dumps(event(1, padding="x" * 300_000)).encode()
    status, answer = await post(http, large, "application/cloudevents+json")
    assert (status, answer["reason"]) == (413, "oversized")
    assert (await post(http, b"hello", "text/plain"))[0] == 415
    assert await records(settings, topics.RAW) == []


async def test_good_events_of_a_batch_do_not_suffer(http: aiohttp.ClientSession, settings: Settings):
    """In a mixed batch the good are accepted and the bad listed by index; with none good it is a 400."""
    mixed = json.dumps([event(1), {}, event(2, specversion="9"), event(3)]).encode()
    status, answer = await post(http, mixed, "application/cloudevents-batch+json")
    assert status == 202
    assert [one["status"] for one in answer["results"]] == [202, 400, 422, 202]
    assert answer["results"][2]["field"] == "specversion"
    assert len(await records(settings, topics.RAW)) == 2
    status, answer = await post(http, b"[{},{}]", "application/cloudevents-batch+json")
    assert (status, len(answer["results"])) == (400, 2)


async def test_a_body_beyond_the_limit_is_not_read(http: aiohttp.ClientSession):
    """More than the limit is refused, declared or not."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    headers = {"content-type": "application/x-ndjson"}
    async with http.post(
        "/v1/events", data=io.BytesIO(bytes(16 * 1024 * 1024 + 1)), headers=headers
    ) as declared:
        assert declared.status == 413
    async with http.post("/v1/events", data=endless(), headers=headers) as undeclared:
        assert undeclared.status == 413


async def test_labels_one_or_many(http: aiohttp.ClientSession, settings: Settings):
    """A label's time defaults to now; an unknown stream or field is named."""
    label = {"stream": "requests", "source": "shop", "id": "1", "label": "norm"}
    assert (await post(http, json.dumps(label).encode(), "application/json", "/v1/labels"))[0] == 202
    many = [label, {**label, "stream": "nope"}, {**label, "lable": "x"}]
    status, answer = await post(http, json.dumps(many).encode(), "application/json", "/v1/labels")
    assert (status, answer["accepted"]) == (202, 1)
    assert [one["reason"] for one in answer["results"]] == ["unknown_stream", "wrong_type"]
    found = [codec.decode(record.value, Label) for record in await records(settings, topics.LABELS)]
    assert len(found) == 2
    assert (datetime.now(UTC) - found[0].labelled_at).total_seconds() < 60


async def test_prediction_is_looked_up_in_clickhouse(
    http: aiohttp.ClientSession, url: str, settings: Settings
):
    """The newest answer of an event, by path or by query, sources and ids with slashes included."""
    assert (await http.get("/v1/predictions/a/b")).status == 404
    database = settings.config.database
    warehouse = await Warehouse.open(settings.endpoints.clickhouse, database)
    await migrate(warehouse)
    now = datetime(2026, 3, 14, 9, 26, 53, 123456, UTC)
    answer = Prediction(
        stream="requests",
        source="shop/eu",
        id="a/1",
        event=Coordinates("events.clean", 1, 5),
        raw=Coordinates("events.raw", 0, 3),
        event_time=now,
        label="sqli",
        score=0.5,
        model="requests",
        version=2,
        sha256="ab",
        predicted_at=now,
    )
    older = msgspec.structs.replace(answer, version=1, predicted_at=now.replace(hour=1))
    await warehouse.insert_json("predictions", codec.encode(answer) + b"\n" + codec.encode(older), token="t")
    await warehouse.close()
    async with Client(url) as client:
        assert await client.prediction("shop/eu", "a/1") == answer
        assert await client.prediction("shop/eu", "none") is None
    response = await http.get("/v1/predictions/shop/eu/other")
    assert (response.status, (await response.json(content_type=None))["source"]) == (404, "shop/eu")


async def test_health_and_what_is_not_there(http: aiohttp.ClientSession):
    """Probes answer, metrics are Prometheus's, other paths and methods are problems."""
    assert (await http.get("/livez")).status == 200
    ready = await http.get("/readyz")
    assert (ready.status, await ready.json()) == (
        200,
        {"status": "ready", "checks": {"kafka": "ok", "clickhouse": "ok", "redis": "ok"}},
    )
    assert "python_info" in await (await http.get("/metrics")).text()
    assert "/v1/events" in (await (await http.get("/openapi.json")).json())["paths"]
    missing, wrong = await http.get("/nope"), await http.get("/v1/events")
    assert (missing.status, wrong.status) == (404, 405)
    assert missing.headers["content-type"] == "application/problem+json"


async def test_client_publishes_a_thousand_and_copies(url: str, settings: Settings):
    """A thousand events and their retried copies share their partitions; each has its own coordinates."""
    async with Client(url, batch=100) as client:
        receipt = await client.publish(event(n, source=f"shop-{n % 7}") for n in range(1000))
        again = await client.publish([event(n, source=f"shop-{n % 7}") for n in range(20)])
    assert len(receipt.accepted) == 1000
    assert len({one.coordinates for one in receipt.accepted + again.accepted}) == 1020
    for one, copy in zip(receipt.accepted, again.accepted, strict=False):
        assert one.coordinates.partition == copy.coordinates.partition
    assert len(await records(settings, topics.RAW)) == 1020


async def test_a_taken_port_is_fatal(url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """A port that was asked for and is taken stops the gateway with what to do."""
    monkeypatch.setenv("HEADRACE_GATEWAY_PORT", url.rpartition(":")[2])
    with pytest.raises(Fatal, match="HEADRACE_GATEWAY_PORT"):
        await run(settings)


async def test_sources_publish_readings_and_lines_once(settings: Settings):
    """Real readings come; a restart neither loses nor repeats a log line."""
    folder = settings.home / "log"
    folder.mkdir()
    log = folder / "kafka.log"
    log.write_bytes(b"one\ntwo\n")

    async def messages() -> list[str]:
        values = [json.loads(record.value) for record in await records(settings, topics.RAW)]
        return [value["data"]["message"] for value in values if value["stream"] == "logs"]

    async def readings() -> int:
        values = [json.loads(record.value) for record in await records(settings, topics.RAW)]
        return sum(value["stream"] == "host" for value in values)

    async def saved(position: int) -> bool:
        path = settings.home / "sources" / "logs.json"
        return path.is_file() and json.loads(path.read_bytes())[str(log)]["position"] == position

    async with beside(run_sources(settings, host_interval_s=0.1, log_interval_s=0.05)):
        await aeventually(lambda: saved(8), timeout_s=30)

        async def enough() -> bool:
            return await readings() >= 3

        await aeventually(enough)
    with log.open("ab") as file:
        file.write(b"three\nfo")
    async with beside(run_sources(settings, host_interval_s=10, log_interval_s=0.05)):
        await aeventually(lambda: saved(14), timeout_s=30)
    assert await messages() == ["one", "two", "three"]
