"""The gateway's door against the real broker, Redis and ClickHouse."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from infra.cli.main import app
from infra.runtime.kafka.follow import follow
from infra.runtime.settings import Endpoints, Settings, load
from infra.runtime.warehouse import Warehouse
from schemas import topics
from schemas.audit import Audit
from schemas.errors import Fatal, HeadraceError, Retryable
from schemas.raw import structured
from schemas.record import Kind
from serving.client import Client, GatewayRefused, Retry
from serving.gateway import keys
from serving.gateway.app import run
from serving.gateway.buckets import Local, Shared
from serving.gateway.scopes import Scope
from streams.sink import run as run_sink
from tests.installation import environment_of
from tests.running import beside, gateway, read
from tests.waiting import aeventually

pytestmark = pytest.mark.live

CONFIG = """
topic_prefix = "{name}."
database = "{name}"
[streams.requests]
kind = "api"
"""
SHARED = [HealthCheck.function_scoped_fixture]
BY_STATUS = """
SELECT who, action, status, sum(count) AS n FROM audit WHERE who != 'gateway' GROUP BY ALL ORDER BY status
"""
NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)


@pytest.fixture
def settings(stack: Endpoints, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings from a file, with topics, a database and a data folder of their own."""
    for name, value in environment_of(stack, tmp_path, CONFIG.format(name=unique)).items():
        monkeypatch.setenv(name, value)
    return load()


@contextlib.asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[str]:
    """Run a gateway and yield its address."""
    async with gateway(settings) as record:
        yield record["url"]


def make(home: Path, name: str, *scopes: Scope, **limits: Any) -> tuple[str, str]:
    """Make a key; return its id and its text."""
    id, secret = keys.fresh()
    made = keys.Key(id=id, name=name, sha256="", scopes=scopes, created_at=NOW, created_by="x", **limits)
    return id, keys.create(home, made, secret)


def event(number: int) -> dict[str, Any]:
    """Build an event."""
    return structured(str(number), "shop", Kind.API, {"method": "GET", "path": "/"})


async def test_keys_limits_and_audit_from_end_to_end(settings: Settings):
    """A key publishes what its scope and quota let it; the audit says so in ClickHouse, who and how often."""
    id, text = make(settings.home, "shop", Scope.PUBLISH, events_per_day=5)
    quick = Retry(attempts=1)
    async with beside(run_sink(settings)), served(settings) as url:
        async with Client(url, key=text, retry=quick) as client:
            assert len((await client.publish([event(1), event(2)])).accepted) == 2
            with pytest.raises(Retryable, match="5 events a day"):
                await client.publish([event(number) for number in range(3, 7)])
            with pytest.raises(GatewayRefused, match="scope 'read'"):
                await client.prediction("shop", "1")
        async with Client(url, retry=quick) as stranger:
            for _ in range(3):
                with pytest.raises(GatewayRefused, match="401"):
                    await stranger.publish([event(9)])
        rows: list[dict[str, Any]] = []

        async def stored() -> bool:
            nonlocal rows
            try:
                warehouse = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
                try:
                    rows = await warehouse.query(BY_STATUS)
                finally:
                    await warehouse.close()
            except HeadraceError:
                return False
            return len(rows) == 4

        await aeventually(stored, timeout_s=60)
    found = [(row["who"], row["action"], row["status"], row["n"]) for row in rows]
    assert found == [
        (f"key/{id}", "POST /v1/events", 202, 1),
        ("unknown", "POST /v1/events", 401, 3),
        (f"key/{id}", "GET /v1/predictions", 403, 1),
        (f"key/{id}", "POST /v1/events", 429, 1),
    ]


async def test_two_gateways_share_one_limit(settings: Settings):
    """What one gateway lets through the other no longer does."""
    _, text = make(settings.home, "shop", Scope.PUBLISH, requests_per_s=0.01, burst=6)
    headers = {"authorization": f"Bearer {text}"}
    async with served(settings) as first:
        (settings.home / "gateway.json").unlink()
        async with served(settings) as second, aiohttp.ClientSession(headers=headers) as session:
            statuses = []
            for number in range(10):
                url = (first, second)[number % 2]
                async with session.post(f"{url}/v1/events", json=event(number)) as response:
                    statuses.append(response.status)
    assert statuses.count(429) == 4
    assert 429 not in statuses[:6]


async def test_settings_and_keys_change_while_it_runs(settings: Settings):
    """A running gateway takes over a limit and the first key, and keeps its settings when the file breaks."""
    file = settings.home / "headrace.toml"
    text = file.read_text()
    async with served(settings) as url, aiohttp.ClientSession() as session:

        async def answers(status: int) -> bool:
            media = {"content-type": "application/cloudevents-batch+json"}
            body = json.dumps([event(1), event(2)]).encode()
            async with session.post(f"{url}/v1/events", data=body, headers=media) as response:
                return response.status == status

        assert await answers(202)
        file.write_text(f"{text}\n[gateway.limits]\nmax_events = 1\n")
        await aeventually(lambda: answers(413), timeout_s=10)
        file.write_text(f"{text}\n[gateway.limits]\nmax_events = -1\n")

        async def said() -> bool:
            audits = await read(settings, topics.AUDIT, Audit)
            return ("config.reloaded", "refused") in {(one.action, one.outcome) for one in audits}

        await aeventually(said, timeout_s=10)
        assert await answers(413)
        make(settings.home, "shop", Scope.PUBLISH)
        await aeventually(lambda: answers(401), timeout_s=10)


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=SHARED)
@given(
    burst=st.integers(1, 50),
    wants=st.lists(st.integers(1, 20), min_size=1, max_size=10),
)
async def test_redis_and_the_process_count_alike(stack: Endpoints, unique: str, burst: int, wants: list[int]):
    """The Lua scripts grant what the classes in this process grant, tokens and quotas."""
    shared = Shared(stack.redis, f"{unique}/{burst}/{wants}/", Local(), patience_s=5.0)
    local = Local()
    rate = 1e-6  # no token comes back while the test runs
    try:
        for want in wants:
            ours = await local.take("a", rate, burst, want, 0.0)
            theirs = await shared.take("a", rate, burst, want, 0.0)
            assert ours.granted == theirs.granted
            assert (ours.wait_s == 0) == (theirs.wait_s == 0)
            need = (want + 1) // 2
            assert await local.spend("a", "d", burst, need, want) == await shared.spend(
                "a", "d", burst, need, want
            )
    finally:
        await shared.close()


async def test_an_open_gateway_listens_to_nobody_else(settings: Settings):
    """All interfaces without a key: the start ends before anything listens; with a key it serves."""
    section = settings.config.gateway.model_copy(update={"host": "0.0.0.0"})
    config = settings.config.model_copy(update={"gateway": section})
    exposed = Settings(settings.home, config, settings.endpoints)
    with pytest.raises(Fatal, match="headrace keys create"):
        await run(exposed)
    assert not (settings.home / "gateway.json").exists()
    make(settings.home, "shop", Scope.PUBLISH)
    async with served(exposed) as url, aiohttp.ClientSession() as session:
        assert url.startswith("http://127.0.0.1:")
        async with session.post(f"{url}/v1/events") as response:
            assert response.status == 401
        async with session.get(f"{url}/readyz") as response:
            assert response.status == 200


async def test_the_publish_command_sends_its_key(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """`headrace publish --via http` is a caller like any other: refused without a key, taken with one."""
    _, text = make(settings.home, "shop", Scope.PUBLISH)
    file = settings.home / "events.jsonl"
    file.write_text(json.dumps(event(1)))
    words = ["publish", str(file), "--stream", "requests", "--via", "http"]
    async with served(settings):
        refused = await asyncio.to_thread(CliRunner().invoke, app, words)
        monkeypatch.setenv("HEADRACE_API_KEY", text)
        taken = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert refused.exit_code != 0 and "401" in str(refused.exception)
    assert taken.exit_code == 0, taken.output
    raw = [record async for record in follow(settings, [topics.RAW], stop_at_end=True)]
    assert len(raw) == 1
