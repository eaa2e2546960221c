"""The gateway while a service is away: it says so, refuses quickly, and goes on by itself when it is back."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from infra.cli.worker import Worker
from infra.runtime.kafka.admin import create_topics
from schemas import topics
from schemas.raw import LogLine, structured
from schemas.record import Kind
from tests.faults.rig import Rig
from tests.waiting import aeventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(150)]

LIMITS = """
[gateway.limits]
requests_per_s = 1000
publish_timeout = "2s"
query_timeout = "2s"
[gateway.breaker]
failures = 2
pause = "500ms"
"""


class Door:
    """A running gateway, asked over HTTP."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url
        self._session = session
        self._number = 0

    async def ready(self) -> tuple[int, dict[str, str]]:
        """Return `/readyz`'s status, and the outcome of each check."""
        async with self._session.get(f"{self._url}/readyz") as response:
            return response.status, (await response.json())["checks"]

    async def publish(self) -> tuple[int, str]:
        """Publish one event; return the status and when to come again."""
        self._number += 1
        event: dict[str, Any] = structured(
            f"door-{self._number}", "door", Kind.LOG, LogLine(message="x"), stream="logs"
        )
        headers = {"content-type": "application/cloudevents+json"}
        body = json.dumps(event, default=lambda line: {"message": line.message})
        async with self._session.post(f"{self._url}/v1/events", data=body, headers=headers) as response:
            return response.status, response.headers.get("retry-after", "")

    async def ask(self) -> tuple[int, float]:
        """Ask for an answer that there is not; return the status and how long it took, in seconds."""
        began = time.monotonic()
        async with self._session.get(f"{self._url}/v1/predictions/door/none") as response:
            return response.status, time.monotonic() - began

    async def settled(self, status: int, **checks: str) -> None:
        """Wait until `/readyz` has this status, and these services do not answer or all do."""

        async def so() -> bool:
            found, outcomes = await self.ready()
            away = {name for name, outcome in outcomes.items() if outcome != "ok"}
            return found == status and away == set(checks)

        await aeventually(so, timeout_s=60)


@pytest.fixture
async def door(rig: Rig) -> AsyncIterator[Door]:
    """The gateway worker of a rig, as a process."""
    config = rig.home / "headrace.toml"
    config.write_text(config.read_text() + LIMITS)
    await create_topics(rig.settings)
    record = rig.home / "gateway.json"
    rig.start(Worker.GATEWAY)

    async def listens() -> bool:
        return record.is_file()

    await aeventually(listens, timeout_s=60)
    async with aiohttp.ClientSession() as session:
        made = Door(json.loads(record.read_bytes())["url"], session)
        await made.settled(200)
        yield made


async def test_kafka_may_be_away(door: Door, rig: Rig) -> None:
    """A broker that stands still: 503 with Retry-After, soon without waiting; then events are taken again."""
    assert (await door.publish())[0] == 202
    rig.stack.kill("kafka", 19)  # SIGSTOP: connections stay and nobody answers
    try:
        await door.settled(503, kafka="away")
        refused = [await door.publish() for _ in range(2)]
        began = time.monotonic()
        refused.append(await door.publish())
        assert time.monotonic() - began < 1.0  # the circuit is open: nobody waits for a timeout
        assert {status for status, _ in refused} == {503}
        assert all(retry_after for _, retry_after in refused)
        assert (await door.ask())[0] == 404  # ClickHouse is asked as before
    finally:
        rig.stack.kill("kafka", 18)  # SIGCONT

    async def taken() -> bool:
        return (await door.publish())[0] == 202

    await aeventually(taken, timeout_s=60)
    await door.settled(200)
    assert rig.restarts(Worker.GATEWAY.value) == 0
    await rig.reached(topics.RAW, 2)


async def test_redis_and_clickhouse_may_be_away(door: Door, rig: Rig) -> None:
    """Without Redis events are taken and limits counted apart; without ClickHouse answers are 503, soon."""
    for service in ("redis", "clickhouse"):
        await asyncio.to_thread(rig.stack.remove_worker, service)
    try:
        await door.settled(503, redis="away", clickhouse="away")
        assert (await door.publish())[0] == 202
        asked = [await door.ask() for _ in range(4)]
        assert {status for status, _ in asked} == {503}
        assert asked[-1][1] < 1.0
        assert "limits.counted_apart" in rig.log(Worker.GATEWAY)
    finally:
        for service in ("redis", "clickhouse"):
            await asyncio.to_thread(rig.stack.add_worker, rig.spec(service))
    await door.settled(200)

    async def answered() -> bool:
        return (await door.ask())[0] == 404

    await aeventually(answered, timeout_s=30)

    async def together() -> bool:
        await door.publish()
        return "limits.counted_together" in rig.log(Worker.GATEWAY)

    await aeventually(together, timeout_s=30)
    assert rig.restarts(Worker.GATEWAY.value) == 0
