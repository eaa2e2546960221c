"""The client against a real HTTP server that misbehaves as told."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web

from schemas.errors import Retryable
from schemas.label import Label
from schemas.raw import structured
from schemas.record import Kind
from serving.client import Client, GatewayRefused, Retry
from serving.client_sync import SyncClient

QUICK = Retry(attempts=3, first_s=0.01, longest_s=0.02)


class Gateway:
    """Answers as the gateway does; `failures` are the statuses of the first requests."""

    def __init__(self, failures: list[int], retry_after: str = "") -> None:
        self.failures = failures
        self.headers = {"retry-after": retry_after} if retry_after else {}
        self.keys: list[str] = []
        self.requests: list[int] = []
        self.labels: list[dict[str, str]] = []
        self.asked = 0

    async def events(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.keys.append(request.headers.get("authorization", ""))
        if self.failures:
            return web.json_response({"detail": "busy"}, status=self.failures.pop(0), headers=self.headers)
        try:
            events = json.loads(body)
        except ValueError:
            return web.json_response(
                {"reason": "malformed_json", "detail": "no array", "field": ""}, status=400
            )
        self.requests.append(len(events))
        results = []
        for index, event in enumerate(events):
            if event.get("id"):
                where = {"topic": "events.raw", "partition": 0, "offset": int(event["id"])}
                one = {"index": index, "status": 202, "source": event["source"], "id": event["id"]}
                results.append({**one, "coordinates": where})
            else:
                one = {
                    "index": index,
                    "status": 422,
                    "reason": "missing_id",
                    "field": "id",
                    "detail": "no id",
                }
                results.append(one)
        accepted = sum(one["status"] == 202 for one in results)
        return web.json_response({"accepted": accepted, "results": results}, status=202 if accepted else 400)

    async def post_labels(self, request: web.Request) -> web.Response:
        self.labels += await request.json()
        return web.json_response({"accepted": 1, "results": []}, status=202)

    async def prediction(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"detail": "not yet"}, status=404)


@asynccontextmanager
async def served(gateway: Gateway) -> AsyncIterator[str]:
    """Serve on a free port."""
    app = web.Application()
    app.router.add_post("/v1/events", gateway.events)
    app.router.add_post("/v1/labels", gateway.post_labels)
    app.router.add_get("/v1/predictions", gateway.prediction)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def event(number: int) -> dict[str, object]:
    """Build an event."""
    return structured(str(number), "shop", Kind.LOG, {"message": "m"})


async def test_publish_batches_and_keeps_the_order_of_indices():
    """Events go in batches; the receipt names each by its place in what was published."""
    gateway = Gateway([])
    async with served(gateway) as url, Client(url, batch=10) as client:
        receipt = await client.publish(event(n) for n in range(1, 26))
    assert sorted(gateway.requests) == [5, 10, 10]
    assert [(one.index, one.coordinates.offset) for one in receipt.accepted] == [
        (n, n + 1) for n in range(25)
    ]


async def test_publish_tries_again():
    """A gateway that is busy twice gets the request a third time."""
    gateway = Gateway([503, 429])
    async with served(gateway) as url, Client(url, retry=QUICK) as client:
        receipt = await client.publish([event(1)])
    assert len(receipt.accepted) == 1


async def test_publish_waits_as_it_is_asked_to():
    """`Retry-After` counts where it is longer than the client's own pause; one of hours ends the attempts."""
    loop = asyncio.get_running_loop()
    async with served(Gateway([503], "1")) as url, Client(url, retry=QUICK) as client:
        began = loop.time()
        await client.publish([event(1)])
        assert loop.time() - began >= 1.0
    gateway = Gateway([429] * 3, "3600")
    async with served(gateway) as url, Client(url, retry=QUICK) as client:
        with pytest.raises(Retryable, match="3600 s: 429 busy"):
            await client.publish([event(1)])
    assert len(gateway.failures) == 2


async def test_a_key_is_sent_with_every_request():
    """As a Bearer token; without one there is no such header."""
    gateway = Gateway([503])
    async with served(gateway) as url:
        async with Client(url, key="hr_x", retry=QUICK) as client:
            await client.publish([event(1)])
        async with Client(url, retry=QUICK) as client:
            await client.publish([event(1)])
    assert gateway.keys == ["Bearer hr_x", "Bearer hr_x", ""]


async def test_publish_gives_up_after_its_attempts():
    """A gateway that stays away is something to try again later."""
    async with served(Gateway([503] * 9)) as url, Client(url, retry=QUICK) as client:
        with pytest.raises(Retryable, match="503 busy"):
            await client.publish([event(1)])
    async with Client("http://127.0.0.1:9", retry=QUICK) as client:
        with pytest.raises(Retryable, match="3 attempts"):
            await client.publish([event(1)])


async def test_refused_events_are_told_apart():
    """Some accepted, some refused, and one whose bytes spoil the whole array: each gets its own answer."""
    async with served(Gateway([])) as url, Client(url, batch=3) as client:
        receipt = await client.publish([event(1), {"source": "x"}, event(3), b"nope", event(5)])
    assert [one.index for one in receipt.accepted] == [0, 2, 4]
    assert [(one.index, one.reason) for one in receipt.refused] == [(1, "missing_id"), (3, "malformed_json")]


async def test_publish_takes_an_asynchronous_stream():
    """Events may come from an asynchronous generator, without end in memory."""

    async def stream() -> AsyncIterator[dict[str, object]]:
        for number in range(1, 8):
            await asyncio.sleep(0)
            yield event(number)

    async with served(Gateway([])) as url, Client(url, batch=2) as client:
        assert len((await client.publish(stream())).accepted) == 7


async def test_a_refused_request_is_an_error():
    """What the gateway refuses as a whole is not tried again."""
    async with served(Gateway([413])) as url, Client(url, retry=QUICK) as client:
        with pytest.raises(GatewayRefused, match="413"):
            await client.publish([event(1)])


async def test_prediction_is_none_after_waiting():
    """An answer that does not come within the wait is None, after more than one question."""
    gateway = Gateway([])
    async with served(gateway) as url, Client(url) as client:
        assert await client.prediction("shop", "1", wait_s=0.25) is None
    assert gateway.asked >= 3


async def test_sync_client_does_the_same_in_a_thread():
    """Code without an event loop publishes and labels too."""
    gateway = Gateway([])
    label = Label(stream="s", source="shop", id="1", label="norm", labelled_at=datetime.now(UTC))

    def use(url: str) -> int:
        with SyncClient(url) as client:
            assert client.label([label]) == []
            return len(client.publish([event(1), event(2)]).accepted)

    async with served(gateway) as url:
        assert await asyncio.to_thread(use, url) == 2
    assert gateway.labels[0]["label"] == "norm"
