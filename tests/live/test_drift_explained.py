"""`headrace drift alerts` and `show` on the real topic and ClickHouse; pages before people are told."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from aiohttp import web
from typer.testing import CliRunner, Result

from infra.cli import drift
from infra.clickhouse.migrate import migrate
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings, load
from infra.runtime.warehouse import Warehouse
from schemas.codec import encode
from schemas.drift import DriftAlert
from schemas.errors import Fatal, Retryable
from schemas.record import Outgoing
from schemas.topics import ALERTS
from streams.alerts.delivery import deliver
from tests.installation import environment_of
from tests.unit.streams.alerts.alert import alert
from tests.waiting import aeventually

pytestmark = pytest.mark.live

CONFIG = """
topic_prefix = "{unique}."
database = "{unique}"
[streams.requests]
kind = "api"
[streams.host]
kind = "sensor"
[alerts.webhook]
url = "{url}"
"""
NOW = datetime.now(UTC)
FIRST = alert(
    "aa11",
    raised_at=NOW - timedelta(hours=3),
    evidence={"classes": {"xss": {"errors": 3, "labels": 4, "rate": 0.75}}},
)
OVER = alert(
    "aa11-recovered",
    raised_at=NOW - timedelta(hours=2),
    recovered=True,
    evidence={"alert": "aa11"},
    summary="is over",
)
SECOND = alert("aa22", stream="host", raised_at=NOW - timedelta(minutes=3))
Command = Callable[..., Result]


@pytest.fixture
def settings(stack: Endpoints, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An environment with topics and a database of its own."""
    config = CONFIG.format(unique=unique, url="")
    for name, value in environment_of(stack, tmp_path, config).items():
        monkeypatch.setenv(name, value)
    loaded = load()
    asyncio.run(create_topics(loaded))
    return loaded


@pytest.fixture
def headrace(settings: Settings) -> Command:
    """The command under test."""
    app = typer.Typer()
    drift.register(app)
    app.command("other")(lambda: None)  # so that `drift` stays a word of its own

    def run(*arguments: str, fails: type[Exception] | None = None) -> Result:
        result = CliRunner().invoke(app, ["drift", *arguments], env={"COLUMNS": "160"})
        if fails is None:
            assert result.exit_code == 0, result.output + repr(result.exception)
        else:
            assert isinstance(result.exception, fails), result.output + repr(result.exception)
        return result

    return run


async def publish(settings: Settings, *raised: DriftAlert) -> None:
    """Write alerts on their topic."""
    async with Publisher(settings) as publisher:
        await publisher.send_all([Outgoing(ALERTS.name, one.stream.encode(), encode(one)) for one in raised])


async def store(settings: Settings, *raised: DriftAlert) -> None:
    """Put alerts into ClickHouse, as the sink does."""
    warehouse = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
    await migrate(warehouse)
    rows: list[Any] = []
    for offset, one in enumerate(raised):
        row = json.loads(encode(one))
        row |= {
            "evidence": json.dumps(row.get("evidence", {})),
            "_topic": "t",
            "_partition": 0,
            "_offset": offset,
        }
        rows.append(row)
    await warehouse.insert_json("alerts", "\n".join(map(json.dumps, rows)).encode())
    await warehouse.close()


def test_alerts_are_listed_and_explained_from_topic_and_clickhouse(
    headrace: Command, settings: Settings, tmp_path: Path
):
    """The same from either; ids may be cut short; the page is written where one asks for it."""
    assert "no alert was raised yet" in headrace("alerts").stdout
    assert "no alert was raised yet" in str(headrace("show", "latest", fails=Fatal).exception)
    asyncio.run(publish(settings, FIRST, OVER, SECOND))
    from_topic = headrace("alerts")
    assert "read from the topic" in from_topic.stderr
    asyncio.run(store(settings, FIRST, OVER, SECOND))
    from_clickhouse = headrace("alerts")
    assert from_clickhouse.stderr == "" and from_clickhouse.stdout == from_topic.stdout
    first, second, last = from_clickhouse.stdout.splitlines()
    assert first.startswith("aa11") and "over since" in first and second.startswith("aa22")
    assert last.startswith("2 alerts")
    (told,) = map(json.loads, headrace("alerts", "--since", "1h", "--json").stdout.splitlines())
    assert told["alert"]["id"] == "aa22" and told["over"] is None
    assert headrace("alerts", "--stream", "requests", "--limit", "1").stdout.startswith("aa11")
    assert "no stream is called 'none'" in str(headrace("alerts", "--stream", "none", fails=Fatal).exception)
    shown = headrace("show", "aa1", "--html", str(tmp_path / "deep" / "page.html")).stdout
    assert "OVER" in shown and "xss" in shown and "3 of 4 wrong" in shown
    assert "3 of 4 wrong" in (tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    whole = json.loads(headrace("show", "latest", "--json").stdout)
    assert whole["alert"]["id"] == "aa22" and whole["explanation"]["features"] == []


def test_what_is_not_there_is_said(headrace: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """An unknown id, one that is several, a file that cannot be written, and services that are away."""
    asyncio.run(store(settings, FIRST, SECOND))
    assert "2 alerts' ids begin with 'aa'" in str(headrace("show", "aa", fails=Fatal).exception)
    assert "no alert's id begins with 'zz'" in str(headrace("show", "zz", fails=Fatal).exception)
    assert "cannot be written" in str(
        headrace("show", "aa1", "--html", "/proc/x.html", fails=Fatal).exception
    )
    asyncio.run(publish(settings, alert("bb33")))
    assert "bb33" in headrace("show", "bb").stdout  # the sink has not brought it to ClickHouse yet
    monkeypatch.setenv("HEADRACE_CLICKHOUSE", "http://default:@127.0.0.1:1")
    away = headrace("alerts")
    assert "bb33" in away.stdout and "ClickHouse does not answer" in away.stderr
    monkeypatch.setenv("HEADRACE_KAFKA", "127.0.0.1:1")
    assert "neither ClickHouse" in str(headrace("alerts", fails=Retryable).exception)


@pytest.mark.timeout(120)
async def test_the_page_is_there_before_anybody_is_told(
    stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """When the post comes its page can be opened; when the drift is over the same page says so."""
    seen: list[tuple[str, str]] = []

    async def take(request: web.Request) -> web.Response:
        body = await request.json()
        seen.append((body["alert"]["id"], Path(body["page"]).read_text(encoding="utf-8")))
        return web.Response()

    async def told_are(*ids: str) -> bool:
        return [id for id, _ in seen] == list(ids)

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    settings = load(environment_of(stack, tmp_path, CONFIG.format(unique=unique, url=url)))
    await create_topics(settings)
    delivering = asyncio.create_task(deliver(settings))
    try:
        await publish(settings, FIRST)
        await aeventually(lambda: told_are("aa11"), timeout_s=30)
        await publish(settings, OVER)
        await aeventually(lambda: told_are("aa11", "aa11-recovered"), timeout_s=30)
    finally:
        delivering.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # this is how it ends
            await delivering
        await runner.cleanup()
    assert "critical</b>" in seen[0][1] and "Over since" not in seen[0][1]
    assert "Over since" in seen[1][1]
    assert [path.name for path in (tmp_path / "drift" / f"{unique}.alerts").iterdir()] == ["aa11.html"]
