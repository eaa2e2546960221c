"""Orders on who is told, from the command line to the channel: silences and acknowledgements."""

import asyncio
import contextlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, load
from schemas.codec import encode
from schemas.record import Outgoing
from schemas.topics import ALERTS
from streams.alerts.delivery import deliver
from tests.installation import environment_of
from tests.unit.streams.alerts.alert import alert
from tests.waiting import aeventually

pytestmark = pytest.mark.live

CONFIG = """
topic_prefix = "{prefix}."
[streams.requests]
kind = "api"
[alerts.webhook]
url = "{url}"
"""


@pytest.mark.timeout(180)
async def test_people_are_left_alone_as_they_ask(stack: Endpoints, unique: str, tmp_path: Path) -> None:
    """A silenced alert is told once the silence ends; of a cause that somebody knows nothing more is told."""
    told: list[str] = []

    async def take(request: web.Request) -> web.Response:
        told.append(request.headers["Idempotency-Key"])
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    environment = environment_of(stack, tmp_path, CONFIG.format(prefix=unique, url=url))
    settings = load(environment)
    await create_topics(settings)

    async def headrace(*arguments: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "infra.cli", "drift", *arguments),
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        return process.returncode, printed.decode()

    async def raised(publisher: Publisher, id: str, **evidence: str) -> None:
        now = datetime.now(UTC)
        record = alert(id, evidence=evidence, raised_at=now, since=now)
        await publisher.send(Outgoing(ALERTS.name, b"requests", encode(record)))

    async def told_are(*ids: str) -> bool:
        return told == list(ids)

    code, printed = await headrace("silence", "requests", "--for", "2h", "--reason", "migration")
    assert code == 0 and "silent until" in printed
    delivering = asyncio.create_task(deliver(settings))
    try:
        async with Publisher(settings) as publisher:
            await raised(publisher, "a1")
            await aeventually(lambda: logged(tmp_path, unique, "a1"), timeout_s=30)
            code, printed = await headrace("silences")
            assert code == 0 and "requests until" in printed and "migration" in printed
            assert told == []
            assert (await headrace("unsilence", "requests"))[0] == 0
            await aeventually(lambda: told_are("a1"), timeout_s=30)
            code, printed = await headrace("ack", "nothing")
            assert code != 0 and "no alert is called 'nothing'" in printed
            code, printed = await headrace("silence", "requests", "--for", "40d")
            assert code != 0 and "up to 30d" in printed
            assert (await headrace("ack", "a1", "--json"))[0] == 0
            await raised(publisher, "a2", cause="a1")
            await raised(publisher, "a3")
            await aeventually(lambda: told_are("a1", "a3"), timeout_s=30)
    finally:
        delivering.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # this is how it ends
            await delivering
        await runner.cleanup()


async def logged(folder: Path, prefix: str, id: str) -> bool:
    """Tell whether an alert was read and logged."""
    path = folder / "drift" / f"{prefix}.delivered"
    return path.exists() and f"log {id}\n" in path.read_text()
