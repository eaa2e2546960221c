"""`headrace train`: what it prints, writes and refuses, and that an interrupted run goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from infra.cli.main import app
from infra.training.reading import read
from schemas.errors import Fatal
from schemas.release import State
from serving.release import open_release
from tests.unit.trainers import tiny
from tests.waiting import eventually
from trainers import folders
from trainers.tasks.examples import Question, Tagged, Text
from trainers.tasks.kinds import Kind

RUNNER = CliRunner()
ROOT = Path(__file__).parents[4]


@pytest.fixture
def data(tmp_path):
    """A CSV of texts and classes."""
    path = tmp_path / "data.csv"
    path.write_text("text,label\n" + "".join(f"{t.text},{t.label}\n" for t in tiny.texts(1, 160)))
    return path


def test_a_model_is_trained_and_handed_over(tiny_base, data, tmp_path, monkeypatch):
    """The report goes to standard output alone, and the release opens in serving."""
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path / "home"))
    out = ["--out", str(tmp_path / "out")]
    command = ["train", str(data), "--task", "classification", "--base", tiny_base, *out]
    ran = RUNNER.invoke(app, [*command, "--threads", "1", "--stream", "requests", "--json", "-"])
    assert ran.exit_code == 0, ran.output
    report = msgspec.json.decode(ran.stdout)
    assert report["metrics"]["accuracy"] > 0.8 and report["export"]["parity"] <= 1e-4
    record = folders.record(tmp_path / "home" / "releases", "requests", 1)
    assert record.state is State.RELEASED
    assert open_release(record).manifest.labels == ("person", "place", "thing")
    assert not (tmp_path / "out" / "scratch").exists()
    again = RUNNER.invoke(app, command)
    assert isinstance(again.exception, Fatal) and "finished training" in str(again.exception)


def test_an_interrupted_command_goes_on(tiny_base, data, tmp_path):
    """Ctrl-C leaves a checkpoint and says how to go on; the resumed run ends like one that ran through."""
    common = [
        sys.executable,
        "-m",
        "infra.cli",
        "train",
        str(data),
        "--task",
        "classification",
        "--base",
        tiny_base,
    ]
    common += ["--mode", "full", "--epochs", "12", "--batch", "4", "--patience", "12", "--threads", "1"]
    environment = {**os.environ, "HEADRACE_HOME": str(tmp_path / "home")}
    out, whole = tmp_path / "out", tmp_path / "whole"
    running = subprocess.Popen(
        [*common, "--checkpoint-every", "0", "--out", str(out)],
        cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    eventually((out / "checkpoint.safetensors").is_file, 90)
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130 and "--resume goes on" in told
    for folder, more in ((out, ["--resume"]), (whole, [])):
        subprocess.run(
            [*common, "--out", str(folder), *more], cwd=ROOT, env=environment, check=True, timeout=90
        )
    resumed, straight = (msgspec.json.decode((f / "report.json").read_bytes()) for f in (out, whole))
    assert resumed["losses"] == straight["losses"] and resumed["metrics"] == straight["metrics"]
    names = ("training/network.safetensors", "training/backbone.safetensors")
    assert all((out / name).read_bytes() == (whole / name).read_bytes() for name in names)


def test_bad_rows_are_named_or_left_out(tmp_path):
    """File, line and column of what is wrong; --skip-bad reads the rest."""
    path = tmp_path / "ner.jsonl"
    path.write_text('{"words": ["a", "b"], "tags": ["O", "O"]}\n{"words": "a b", "tags": "O"}\n')
    with pytest.raises(Fatal, match=r"ner.jsonl line 2 column 'tags': 1 tags for 2 words"):
        read(path, Kind.TOKENS, {})
    found = read(path, Kind.TOKENS, {}, skip_bad=True)
    assert found.examples == [Tagged(("a", "b"), ("O", "O"))] and len(found.problems) == 1


def test_columns_can_be_named(tmp_path):
    """A role's column by another name; one that is not there is refused with those that are."""
    path = tmp_path / "x.csv"
    path.write_text("body,team\nhello there,a\nbye now,b\n")
    found = read(path, Kind.CLASSIFICATION, {"text": "body", "label": "team"})
    assert found.examples == [Text("hello there", "a"), Text("bye now", "b")]
    with pytest.raises(Fatal, match="no column for the text; say which with --column text=NAME, of: body"):
        read(path, Kind.CLASSIFICATION, {})
    with pytest.raises(Fatal, match="has no such role"):
        read(path, Kind.CLASSIFICATION, {"words": "body"})


def test_answers_are_read_in_both_forms(tmp_path):
    """A plain answer is looked for in its context; SQuAD's lists say where it is; others are refused."""
    path = tmp_path / "qa.jsonl"
    row = (
        '{"question": "who?", "context": "anna and anna", "answers": {"text": ["anna"], "answer_start": [9]}}'
    )
    path.write_text(row + "\n")
    assert read(path, Kind.QA, {}).examples == [Question("who?", "anna and anna", "anna", 9)]
    path.write_text('{"question": "who?", "context": "anna and anna", "answer": "boris"}\n')
    with pytest.raises(Fatal, match="line 1 column 'answer': 'boris' is not in the context"):
        read(path, Kind.QA, {})
