"""`headrace models` against the real broker and running workers: what is announced is what they serve."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from infra.cli import models
from infra.cli.promote import _send
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.settings import Endpoints, Settings, load
from schemas import codec, topics
from schemas.config import Rollout
from schemas.errors import Fatal
from schemas.release import Release, State, Swap, Task
from tests.installation import environment_of
from tests.unit.serving.releases import lay_out, sensor
from tests.waiting import eventually
from trainers import folders
from trainers.rollout.records import begun

pytestmark = [pytest.mark.live, pytest.mark.timeout(180)]

CONFIG = """
topic_prefix = "{unique}."
database = "{unique}"
[streams.host]
kind = "sensor"
[streams.host.model]
"""
Command = Callable[..., Result]


@pytest.fixture
def settings(stack: Endpoints, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Topics of this test's own, and three releases on disk of which none serves."""
    for name, value in environment_of(stack, tmp_path, CONFIG.format(unique=unique)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    loaded = load()
    asyncio.run(create_topics(loaded))
    for version in (1, 2, 3):
        lay_out(
            loaded.releases, sensor(version, Task.CLASSIFICATION), model="host", version=version,
            parent=version - 1 or None, metrics={"accuracy": 0.9 + version / 100},
        )  # fmt: skip
    return loaded


@pytest.fixture
def headrace(settings: Settings) -> Command:
    """The commands under test."""
    app = typer.Typer()
    models.register(app)

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "200"})
        assert result.exit_code == code, result.output + repr(result.exception)
        return result

    return run


@contextmanager
def _worker(name: str, settings: Settings) -> Iterator[None]:
    """Run a worker in a process of its own, as the stack does."""
    with (settings.home / f"{name}.log").open("wb") as log:
        command = [sys.executable, "-m", "infra.cli", "worker", name]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=30)


def _read(settings: Settings, topic: topics.Topic, contract: Any) -> list[Any]:
    async def collect() -> list[Any]:
        records = follow(settings, [topic], stop_at_end=True)
        return [codec.decode(record.value or b"", contract) async for record in records]

    return asyncio.run(collect())


def _champion(settings: Settings) -> int:
    """What the trainer takes for the champion, as it hands it to the registry."""
    path = settings.home / "trainer" / "serving.json"
    return int(json.loads(path.read_bytes())["host"]["version"]) if path.is_file() else 0


def test_workers_follow_a_promotion_and_a_rollback(headrace: Command, settings: Settings) -> None:
    """Each swap is waited for and reported; trainer and list say the same; the one left is marked."""
    headrace("promote", "1")
    with _worker("serving", settings), _worker("trainer", settings):
        assert "host 2 serves" in headrace("promote", "host", "2", "--wait", "60").stdout
        third = codec.decode(headrace("promote", "host/3", "--wait", "60", "--json").stdout.encode(), Release)
        assert third.served_before == (1, 2)
        eventually(lambda: _champion(settings) == 3, 60.0)
        back = headrace("rollback", "--reason", "calls everything busy", "--wait", "60")
        assert "host 2 serves" in back.stdout
        eventually(lambda: _champion(settings) == 2, 60.0)
        headrace("rollback", "host", "--wait", "60")
        with pytest.raises(Fatal, match="there is nothing to roll back to"):
            _raised(headrace("rollback", code=1))
    swaps = [swap.version for swap in _read(settings, topics.SWAPS, Swap) if swap.outcome == "swapped"]
    assert swaps[-4:] == [2, 3, 2, 1]
    left = [r for r in _read(settings, topics.RELEASES, Release) if r.state is State.ROLLED_BACK]
    assert [release.version for release in left] == [3, 2]
    assert left[0].reasons[0].endswith(": calls everything busy")
    rows = {row["version"]: row for row in json.loads(headrace("list", "--json").stdout)}
    assert {version: row["state"] for version, row in rows.items()} == {
        1: "serving", 2: "rolled_back", 3: "rolled_back",
    }  # fmt: skip
    assert rows[1]["aliases"] == ["champion"]


def test_a_canary_is_listed_and_taken_back(headrace: Command, settings: Settings) -> None:
    """Its stage and share are shown; a rollback takes it back first, a second one what serves."""
    headrace("promote", "1")
    headrace("promote", "2")
    serving = _read(settings, topics.RELEASES, Release)[-1]
    third = folders.record(settings.releases, "host", 3)
    staged = begun(third, serving, Rollout(canary=0.1), datetime.now(UTC))
    asyncio.run(_send(settings, [staged], 0.0))
    rows = {row["version"]: row for row in json.loads(headrace("list", "--json").stdout)}
    assert [rows[version]["state"] for version in (1, 2, 3)] == ["released", "serving", "canary"]
    assert (rows[3]["rollout"]["share"], rows[3]["rollout"]["against"]) == (0.1, 2)
    assert "canary (10% against 2, at least until" in headrace("list").stdout
    assert "host 3 is taken back" in headrace("rollback", "--reason", "too slow").stdout
    rows = {row["version"]: row for row in json.loads(headrace("list", "--json").stdout)}
    assert [rows[version]["state"] for version in (1, 2, 3)] == ["released", "serving", "rolled_back"]
    assert rows[3]["rollout"] is None
    headrace("rollback")
    rows = {row["version"]: row for row in json.loads(headrace("list", "--json").stdout)}
    assert [rows[version]["state"] for version in (1, 2, 3)] == ["serving", "rolled_back", "rolled_back"]


def test_a_broken_release_is_not_announced(headrace: Command, settings: Settings) -> None:
    """The file that is not the released one is named, and the topic stays as it was."""
    headrace("promote", "2")
    graph = settings.releases / "host" / "3" / "model.fp32.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    for words, message in (
        (("promote", "3"), r"model\.fp32\.onnx is not the file that was released"),
        (("promote", "7"), "host has no release 7; there are: 1, 2, 3"),
        (("promote", "hots", "2"), "no model is called 'hots'; did you mean 'host'"),
        (("show",), "VERSION"),
        (("promote", "3", "2"), "give VERSION"),
        (("promote", "previous"), "so it has no previous"),
        (("rollback", "hots"), "did you mean 'host'"),
        (("rollback", "--to", "2"), "serves already"),
    ):
        result = headrace(*words, code=2 if words == ("show",) else 1)
        assert result.exit_code == 2 or isinstance(result.exception, Fatal)
        if isinstance(result.exception, Fatal):
            with pytest.raises(Fatal, match=message):
                _raised(result)
    assert [release.version for release in _read(settings, topics.RELEASES, Release)] == [2]


def test_what_is_pruned_is_said_first(headrace: Command, settings: Settings) -> None:
    """Without --yes nothing goes; with it, only what neither serves nor is needed; rollback then knows."""
    headrace("promote", "1")
    headrace("promote", "3")
    before = json.loads(headrace("prune", "--keep", "0", "--older-than", "1h", "--json").stdout)
    assert before["host"]["would_delete"] == {}
    assert before["host"]["kept"] == {"1": "previous", "2": "parent of 3", "3": "champion"}
    headrace("promote", "1")  # now 3 served before it, and 2 is its parent
    headrace("promote", "2")  # 2 is continued from 1; 1 served before it
    found = headrace("prune", "--keep", "0", "--older-than", "1h").stdout
    assert "host 3: to delete" in found
    assert "with --yes" in found
    assert (settings.releases / "host" / "3").is_dir()
    assert "host 3: deleted" in headrace("prune", "--keep", "0", "--older-than", "1h", "--yes").stdout
    assert sorted(path.name for path in (settings.releases / "host").iterdir()) == ["1", "2"]
    with pytest.raises(Fatal, match="host has no release 3; there are: 1, 2"):
        _raised(headrace("promote", "3", code=1))


def test_releases_are_shown_and_compared(headrace: Command, settings: Settings) -> None:
    """By number, by alias, for people and as JSON."""
    headrace("promote", "2")
    headrace("promote", "3")
    table = headrace("list").stdout
    assert "serving" in table
    assert "released previous" in table
    assert json.loads(headrace("show", "champion", "--json").stdout)["version"] == 3
    assert json.loads(headrace("show", "host", "latest", "--json").stdout)["card"] is None
    assert str(settings.releases / "host" / "1") in headrace("show", "1").stdout
    run = settings.home / "trainer" / "runs" / "host-drift-9"
    run.mkdir(parents=True)
    (run / "model_card.json").write_text('{"model": "host", "version": 4, "reasons": ["forgets"]}')
    (run / "model_card.md").write_text("# host, version 4: forgets")
    assert "version 4: forgets" in headrace("show", "4").stdout
    assert json.loads(headrace("show", "host/4", "--json").stdout)["reasons"] == ["forgets"]
    changes = json.loads(headrace("diff", "previous", "champion", "--json").stdout)
    assert changes["parent"] == [1, 2]
    assert changes["metrics.accuracy"] == [0.92, 0.93]
    assert "+0.0200" in headrace("diff", "host", "1", "3").stdout


def _raised(result: Result) -> None:
    """Raise what a command raised; the command line's own entry point makes one line of it."""
    assert result.exception is not None
    raise result.exception
