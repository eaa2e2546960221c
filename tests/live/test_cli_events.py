"""publish, tail, query, labels and dead against the real broker and ClickHouse."""

import asyncio
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
from typer.testing import CliRunner, Result

from infra.cli import dead, labels, publish, read
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Endpoints, Settings, load
from schemas import codec, topics
from schemas.dead import Dead
from schemas.errors import Fatal, Reason
from schemas.record import Coordinates, Outgoing
from schemas.topics import Topic
from tests.installation import environment_of

pytestmark = pytest.mark.live

CONFIG = """
topic_prefix = "{unique}."
database = "{unique}"
[streams.requests]
kind = "api"
[streams.boiler]
kind = "sensor"
[streams.logs]
kind = "log"
"""
Command = Callable[..., Result]


@pytest.fixture
def settings(stack: Endpoints, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """An environment with topics and a database of its own."""
    for name, value in environment_of(stack, tmp_path, CONFIG.format(unique=unique)).items():
        monkeypatch.setenv(name, value)
    loaded = load()
    asyncio.run(create_topics(loaded))
    return loaded


@pytest.fixture
def headrace(settings: Settings) -> Command:
    """The commands under test."""
    app = typer.Typer()
    for part in (publish, read, labels, dead):
        part.register(app)

    def run(*arguments: str, code: int = 0, stdin: bytes | None = None) -> Result:
        result = CliRunner().invoke(app, list(arguments), input=stdin)
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    return run


def values(settings: Settings, topic: Topic) -> list[Any]:
    """Return the records on a topic."""

    async def collect() -> list[Any]:
        return [record async for record in follow(settings, [topic], stop_at_end=True)]

    return asyncio.run(collect())


def test_json_lines_with_labels(headrace: Command, settings: Settings, tmp_path: Path):
    """Bare data and CloudEvents go, bad lines are named, and a repeated publish makes the same ids."""
    file = tmp_path / "shop.jsonl"
    file.write_text(
        '{"method":"GET","path":"/x","truth":"norm"}\n'
        '{"specversion":"1.0","id":"a","source":"s","type":"headrace.api.request.v2","data":{"method":"GET"}}\n'
        "nope\n\n"
        '{"method":"POST","path":"/y","id":"77","source":"me","truth":"sqli"}\n'
    )
    arguments = ("publish", str(file), "--label-column", "truth", "--json")
    summary = json.loads(headrace(*arguments, code=1).stdout)
    assert (summary["sent"], summary["refused"], summary["labels"]) == (2, 2, 2)
    assert {(one["line"], one["reason"], one["field"]) for one in summary["refusals"]} == {
        (2, "missing_field", "data.path"),
        (3, "malformed_json", ""),
    }
    headrace(*arguments, code=1)
    events = [json.loads(record.value) for record in values(settings, topics.RAW)]
    assert len(events) == 4
    assert len({(event["source"], event["id"]) for event in events}) == 2
    found = [json.loads(record.value) for record in values(settings, topics.LABELS)]
    assert {(label["id"], label["label"], label["stream"]) for label in found if label["source"] == "me"} == {
        ("77", "sqli", "requests")
    }


def test_csv_and_log_lines(headrace: Command, settings: Settings, tmp_path: Path):
    """CSV rows become readings, an empty cell a missing one; log lines become messages."""
    table = tmp_path / "boiler.csv"
    table.write_text("time,temp,flow\n2026-01-01T00:00:00Z,1.5,\n2026-01-01T00:00:01Z,2.5,7\n")
    log = tmp_path / "app.log"
    log.write_bytes(b"fine\n\xff\xfe\n")
    assert "sent 2" in headrace("publish", str(table)).stdout
    result = headrace("publish", str(log), code=1)
    assert "line 2: invalid_utf8" in result.stderr
    data = [json.loads(record.value) for record in values(settings, topics.RAW)]
    assert [event["data"] for event in data if "boiler.csv" in event["source"]] == [
        {"values": {"temp": "1.5", "flow": None}},
        {"values": {"temp": "2.5", "flow": "7"}},
    ]
    assert [event["data"] for event in data if "app.log" in event["source"]] == [{"message": "fine"}]


def test_what_cannot_be_published_says_why(headrace: Command, tmp_path: Path):
    """No file, no such stream, nothing in it, no gateway: each ends with an error that says what to do."""
    assert isinstance(headrace("publish", "none.jsonl", code=1).exception, Fatal)
    empty = tmp_path / "e.jsonl"
    empty.write_text("")
    assert "boiler" in str(headrace("publish", str(empty), "--stream", "boilr", code=1).exception)
    assert "sent 0" in headrace("publish", str(empty), code=1).stdout
    assert "headrace up" in str(headrace("publish", str(empty), "--via", "http", code=1).exception)


def test_tail_shows_and_stops(headrace: Command, tmp_path: Path):
    """The last five minutes, pretty or as JSON, up to a limit; an unknown topic names the nearest."""
    log = tmp_path / "app.log"
    log.write_text("one\ntwo\nthree\n")
    headrace("publish", str(log))
    lines = headrace("tail", "events.raw", "--no-follow", "--from", "5m", "--limit", "2", "--json").stdout
    shown = [json.loads(line) for line in lines.splitlines()]
    assert [one["value"]["data"]["message"] for one in shown] == ["one", "two"]
    assert '"three"' in headrace("tail", "events.raw", "--no-follow").stdout
    assert "'events.raw'" in str(headrace("tail", "event.raw", code=1).exception)
    assert headrace("tail", "events.raw", "--from", "soon", code=2).exit_code == 2


def test_query(headrace: Command, settings: Settings):
    """Answers in any format; a mistake shows ClickHouse's code and fails."""
    sql = "SELECT 1 AS a"
    assert "UNKNOWN_DATABASE" in headrace("query", sql, code=1).stderr
    import httpx

    database = settings.config.database
    httpx.post(settings.endpoints.clickhouse, content=f"CREATE DATABASE {database}").raise_for_status()
    assert json.loads(headrace("query", sql, "--json").stdout)["data"] == [{"a": 1}]
    assert headrace("query", sql, "--format", "CSV").stdout == "1\n"
    assert "Code: 62" in headrace("query", "SELEC 1", code=1).stderr


def test_labels_import(headrace: Command, settings: Settings, tmp_path: Path):
    """Labels come from CSV or JSON lines; rows that are none are named."""
    table = tmp_path / "l.csv"
    table.write_text("source,id,label\nshop,1,norm\nshop,,sqli\n")
    result = json.loads(
        headrace("labels", "import", str(table), "--stream", "requests", "--json", code=1).stdout
    )
    assert (result["sent"], result["refused"], result["refusals"][0]["line"]) == (1, 1, 3)
    lines = tmp_path / "l.jsonl"
    lines.write_text('{"stream":"requests","source":"shop","id":"2","label":"xss","by":"ann"}\n')
    headrace("labels", "import", str(lines))
    found = [json.loads(record.value) for record in values(settings, topics.LABELS)]
    assert {(label["id"], label["by"]) for label in found} == {("1", ""), ("2", "ann")}


def letter(number: int, reason: Reason, original: bytes, **changes: Any) -> Dead:
    """Build a dead letter."""
    made = Dead(
        reason=reason,
        message="m",
        stage="clean",
        raw=Coordinates("events.raw", 0, number),
        rejected_at=datetime.now(UTC),
        key=b"shop",
        original=original,
        headers=(("content-type", b"application/json"), ("ce_id", b"\xff")),
    )
    return msgspec.structs.replace(made, **changes)


@pytest.fixture
def dead_letters(settings: Settings) -> None:
    """Three dead letters on the topic, one of them older than events.raw is kept."""
    old = datetime.now(UTC) - timedelta(days=8)
    letters = [
        letter(0, Reason.MALFORMED_JSON, b"{nope \xff"),
        letter(1, Reason.MISSING_ID, b'{"a":1}', stream="requests"),
        letter(2, Reason.POISON, b"x", rejected_at=old),
    ]

    async def publish_all() -> None:
        async with Publisher(settings) as publisher:
            for one in letters:
                await publisher.send(Outgoing(topics.DEAD.name, one.key, codec.encode(one)))

    asyncio.run(publish_all())


@pytest.mark.usefixtures("dead_letters")
def test_dead_list_and_show(headrace: Command):
    """Listed with counts and filters; shown with the original in clear."""
    found = json.loads(headrace("dead", "list", "--json").stdout)
    assert (found["count"], [one["letter"] for one in found["letters"]]) == (3, ["0:0", "0:1", "0:2"])
    assert "1 dead letters: missing_id 1" in headrace("dead", "list", "--stream", "requests").stdout
    assert "{nope \\xff" in headrace("dead", "show", "0:0").stdout
    assert "no dead letter 0:9" in str(headrace("dead", "show", "0:9", code=1).exception)
    assert isinstance(headrace("dead", "show", "nine", code=1).exception, Fatal)


@pytest.mark.usefixtures("dead_letters")
def test_dead_replay_happens_once(headrace: Command, settings: Settings):
    """Original bytes, key and headers come back, marked; a second replay sends nothing, --again does."""
    headrace("dead", "replay", code=2)
    first = json.loads(headrace("dead", "replay", "--all", "--json", code=1).stdout)
    assert (first["sent"], first["too_old"]) == (["0:0", "0:1"], ["0:2"])
    again = json.loads(headrace("dead", "replay", "--all", "--json", code=1).stdout)
    assert (again["sent"], again["replayed_before"]) == ([], ["0:0", "0:1"])
    sent = values(settings, topics.RAW)
    assert [record.value for record in sent] == [b"{nope \xff", b'{"a":1}']
    assert dict(sent[0].headers) == {
        "content-type": b"application/json",
        "ce_id": b"\xff",
        "headrace-replay": f"{settings.topic(topics.DEAD)}/0/0".encode(),
    }
    assert sent[0].key == b"shop"
    headrace("dead", "replay", "--id", "0:2", "--again")
    assert len(values(settings, topics.RAW)) == 3


@pytest.mark.usefixtures("dead_letters")
def test_dead_replay_with_a_fix(headrace: Command, settings: Settings):
    """The fix's output is sent instead; a letter on which it fails stays and is named."""
    code = "import sys, json; print(json.dumps({**json.loads(sys.stdin.buffer.read()), 'id': '1'}))"
    outcome = json.loads(
        headrace(
            "dead",
            "replay",
            "--id",
            "0:0",
            "--id",
            "0:1",
            "--fix",
            f'{sys.executable} -c "{code}"',
            "--json",
            code=1,
        ).stdout
    )
    assert outcome["sent"] == ["0:1"]
    assert "0:0" in outcome["unfixed"]
    assert [json.loads(record.value) for record in values(settings, topics.RAW)] == [{"a": 1, "id": "1"}]
