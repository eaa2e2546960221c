"""The command itself: what it prints, writes, refuses, and how it ends."""

import random
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from infra.cli.main import app
from schemas.errors import Fatal

RUNNER = CliRunner()


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A table of 400 rows whose label hangs on one column, with one bad line."""
    chance = random.Random(1)
    lines = [f"{x:.3f},{'p' if x > 0.5 else 'n'}" for x in (chance.random() for _ in range(400))]
    lines.insert(300, "broken,p")
    path = tmp_path / "history.csv"
    path.write_text("x,y\n" + "\n".join(lines) + "\n")
    return path


def test_figures_go_to_standard_output_alone(history):
    """With `--json -` nothing else is printed there; bad lines are named on standard error."""
    ran = RUNNER.invoke(app, ["backtest", str(history), "--model", "hoeffding-tree", "--json", "-"])
    assert ran.exit_code == 0, ran.output
    figures = msgspec.json.decode(ran.stdout)
    assert figures["rows"] == 400 and figures["bad_rows"] == 1
    assert "history.csv line 302 column 'x': 'broken' is no number" in ran.stderr


def test_figures_and_page_go_to_files(history, tmp_path):
    """Both are written, and the table for people is printed."""
    json, page = tmp_path / "out.json", tmp_path / "deep" / "page.html"
    ran = RUNNER.invoke(app, ["backtest", str(history), "--json", str(json), "--report", str(page)])
    assert ran.exit_code == 0, ran.output
    assert msgspec.json.decode(json.read_bytes())["accuracy"] > 0.8
    assert "<svg" in page.read_text(encoding="utf-8")
    assert "kappa-temporal" in ran.stdout


def test_what_is_wrong_ends_with_one_sentence(history, tmp_path):
    """A file that is not there, an unknown model."""
    ran = RUNNER.invoke(app, ["backtest", str(tmp_path / "none.csv")])
    assert ran.exit_code == 1 and isinstance(ran.exception, Fatal)
    ran = RUNNER.invoke(app, ["backtest", str(history), "--model", "magic"])
    assert ran.exit_code == 2 and "hoeffding-tree" in ran.stderr


def test_a_label_that_is_a_measurement_is_refused(tmp_path):
    """A last column of numbers that hardly repeat, or of nothing, is no class to learn."""
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{n % 7},{n / 7:.4f}\n" for n in range(900)))
    ran = RUNNER.invoke(app, ["backtest", str(path)])
    assert ran.exit_code == 1 and "900 different values" in str(ran.exception)
    path.write_text("x,y\n1,\n2,\n")
    ran = RUNNER.invoke(app, ["backtest", str(path)])
    assert ran.exit_code == 1 and "column 'y' is empty" in str(ran.exception)


def test_a_stream_has_a_model_of_its_own(history):
    """What contradicts `--stream`, and a stream that is not there, end with a sentence."""
    for extra, says in ((["--reset-on-alarm"], "own model"), ([], "no stream is called 'plant'")):
        ran = RUNNER.invoke(app, ["backtest", str(history), "--stream", "plant", *extra])
        assert ran.exit_code == 1 and says in str(ran.exception)


def test_the_help_teaches_by_examples():
    """It shows a whole command for each use."""
    ran = RUNNER.invoke(app, ["backtest", "--help"], env={"COLUMNS": "120"})
    assert ran.exit_code == 0
    for word in (
        "headrace backtest history.csv",
        "--reset-on-alarm",
        "--errors",
        "--label-delay 5m",
        "--report",
    ):
        assert word in ran.output
