"""`headrace tune`: what it writes, that it goes on after kill -9, and what it refuses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from infra.cli.main import app
from schemas.errors import Fatal
from tests.unit.trainers import tiny
from tests.waiting import eventually
from trainers.search.study import STUDY

RUNNER = CliRunner()
ROOT = Path(__file__).parents[4]


@pytest.fixture
def command(tiny_base, tmp_path, monkeypatch):
    """The command over a CSV of texts and classes, with four trials of a few epochs."""
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))
    data = tmp_path / "data.csv"
    data.write_text("text,label\n" + "".join(f"{t.text},{t.label}\n" for t in tiny.texts(1, 160)))
    where = ["--out", str(tmp_path / "out"), "--threads", "1"]
    return ["tune", str(data), "--task", "classification", "--base", tiny_base, *where, "--epochs", "6"]


def test_the_best_is_trained_and_everything_is_told(command, tmp_path):
    """A model's folder, all trials as JSON, and a page; what is more than that goes to standard error."""
    ran = RUNNER.invoke(app, [*command, "--trials", "5", "--pruner", "off", "--json", "-"])
    assert ran.exit_code == 0, ran.output
    result = msgspec.json.decode(ran.stdout)
    out = tmp_path / "out"
    assert result == msgspec.json.decode((out / "tune.json").read_bytes())
    assert len(result["found"]["trials"]) == 5
    recipe = result["report"]["recipe"]
    assert {name: recipe[name] for name in result["found"]["best"]["values"]} == result["found"]["best"][
        "values"
    ]
    assert msgspec.json.decode((out / "best" / "report.json").read_bytes()) == result["report"]
    assert (out / "best" / "model.fp32.onnx").is_file() and not (out / "best" / "scratch").exists()
    page = (out / "tune.html").read_text()
    assert page.count('class="plot"') == 5 and "http" not in page.replace("http://www.w3.org", "")
    again = RUNNER.invoke(app, [*command, "--trials", "5", "--pruner", "off", "--json", "-"])
    assert msgspec.json.decode(again.stdout)["found"] == result["found"]
    other = RUNNER.invoke(app, [*command, "--trials", "5", "--seed", "8"])
    assert isinstance(other.exception, Fatal) and "a search of other data" in str(other.exception)


def test_a_killed_command_goes_on(command, tmp_path):
    """Kill -9 in the middle costs the trial in hand; the same command ends with as many trials as asked."""
    study = tmp_path / "out" / STUDY
    full = [sys.executable, "-m", "infra.cli", *command, "--trials", "40", "--pruner", "off"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(full, cwd=ROOT, env=dict(os.environ), stdout=log, stderr=log)
    try:
        eventually(lambda: (tmp_path / "log").read_bytes().count(b"trial ") >= 2, 60)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert study.is_file() and not (tmp_path / "out" / "tune.json").exists()
    done = (tmp_path / "log").read_bytes().count(b"trial ")
    ran = RUNNER.invoke(app, [*command, "--trials", "40", "--pruner", "off", "--budget", "1s", "--json", "-"])
    assert ran.exit_code == 0, ran.output
    assert len(msgspec.json.decode(ran.stdout)["found"]["trials"]) >= done


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--space", "heed_rate=1..2"], "did you mean 'head_rate'"),
        (["--budget", "soon"], "is no duration"),
    ],
)
def test_what_it_cannot_do_it_says(command, more, reason):
    """The message names what there is."""
    ran = RUNNER.invoke(app, [*command, *more])
    assert isinstance(ran.exception, Fatal) and reason in str(ran.exception)


def test_a_folder_of_something_else_is_left_alone(command, tmp_path):
    """Nothing is written into it."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    ran = RUNNER.invoke(app, command)
    assert isinstance(ran.exception, Fatal) and "holds no search" in str(ran.exception)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]


def test_a_test_file_of_other_readings_is_refused(tmp_path):
    """As by `headrace train`: what is asked in the end must be what was learnt from."""
    for name, columns in (("data", "cpu,disk"), ("test", "cpu,fan")):
        rows = "".join(f"{n % 3},{n % 5},{'on' if n % 2 else 'off'}\n" for n in range(60))
        (tmp_path / f"{name}.csv").write_text(f"{columns},label\n{rows}")
    command = ["tune", str(tmp_path / "data.csv"), "--task", "sensor-classification"]
    ran = RUNNER.invoke(app, [*command, "--test", str(tmp_path / "test.csv"), "--out", str(tmp_path / "out")])
    assert isinstance(ran.exception, Fatal) and "other readings" in str(ran.exception)
