"""`headrace models explain` on a release folder: the answer's reasons, as a table, JSON and a page."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from infra.cli import models
from schemas.config import Stream
from schemas.errors import Fatal
from tests.unit.trainers import samples
from trainers.bootstrap import train_first

Command = Callable[..., Result]
BUSY = '{"cpu": 80, "fan_rpm": 2100, "memory_mb": 5600, "temperature": 60}'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier and an anomaly model of readings."""
    folder = tmp_path_factory.mktemp("home")
    rows = samples.readings(1, 400)
    train_first(folder, "host", Stream.model_validate({"kind": "sensor", "model": {}}), rows)
    odd = Stream.model_validate({"kind": "sensor", "model": {"task": "anomaly"}})
    train_first(folder, "odd", odd, [(event, None) for event, _ in rows])
    return folder


@pytest.fixture
def headrace(home: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command under test."""
    monkeypatch.setenv("HEADRACE_HOME", str(home))
    app = typer.Typer()
    models.register(app)

    def run(*arguments: str, fails: type[Exception] | None = None) -> Result:
        result = CliRunner().invoke(app, ["models", "explain", *arguments], env={"COLUMNS": "160"})
        assert isinstance(result.exception, fails) if fails else result.exit_code == 0, repr(result.exception)
        return result

    return run


def test_an_answer_is_explained_as_a_table_and_as_json(headrace: Command, tmp_path: Path) -> None:
    """Both name every reading; shares and baseline add up to the output; a page is written on demand."""
    file = tmp_path / "why.html"
    shown = headrace("host", "1", "--values", BUSY, "--html", str(file)).stdout
    assert "host 1 answers busy" in shown and "all 24 orders of 4 readings, against 32 training rows" in shown
    assert "fan_rpm" in file.read_text() and str(file) in shown
    told = json.loads(headrace("host/1", "--values", BUSY, "--json").stdout)
    assert {reason["name"] for reason in told["reasons"]} == {"cpu", "fan_rpm", "memory_mb", "temperature"}
    total = told["baseline"] + sum(reason["share"] for reason in told["reasons"])
    assert total == pytest.approx(told["output"], abs=told["bound"]) and told["error"] <= told["bound"]
    assert told["answer"] == told["label"] == "busy" and told["event"] == ""
    turned = json.loads(headrace("host/latest", "--values", BUSY, "--label", "idle", "--json").stdout)
    assert turned["output"] == pytest.approx(-told["output"], abs=1e-4)


def test_a_score_is_explained_by_what_raises_it(headrace: Command) -> None:
    """The reading that is out of place comes first, and one that is missing is called so."""
    told = json.loads(headrace("odd", "1", "--values", '{"cpu": 50, "fan_rpm": 9000}', "--json").stdout)
    assert told["answer"] == "anomaly" and told["unit"] == "anomaly score"
    first = max(told["reasons"], key=lambda reason: reason["share"])
    assert first["name"] == "fan_rpm" and first["value"] == 9000
    assert {r["name"] for r in told["reasons"] if r["value"] is None} == {"memory_mb", "temperature"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["host", "1"], "one of --text, --values and --event"),
        (["host", "1", "--text", "x", "--values", "{}"], "one of --text"),
        (["host", "1", "--values", '{"cpuu": 1}'], "did you mean 'cpu'"),
        (["host", "1", "--values", '{"cpu": "hot"}'], "no JSON object of numbers"),
        (["host", "1", "--values", "{}"], "none to explain"),
        (["host", "1", "--text", "GET /"], "reads readings"),
        (["host", "1", "--values", BUSY, "--label", "asleep"], "it answers busy, idle"),
        (["odd", "1", "--values", BUSY, "--label", "busy"], "one score to explain"),
        (["host", "7", "--values", BUSY], "no release 7"),
        (["host", "1", "--values", BUSY, "--html", "/nowhere/why.html"], "cannot be written"),
    ],
)
def test_what_cannot_be_explained_is_said(headrace: Command, arguments: list[str], says: str) -> None:
    """Each mistake has an error that says what to do."""
    assert says in str(headrace(*arguments, fails=Fatal).exception)
