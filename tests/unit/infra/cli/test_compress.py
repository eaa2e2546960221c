"""`headrace models compress` on a tiny release: a table, JSON, a page, and what it says when it cannot."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from infra.bench.train.compression import against_torch, read
from infra.cli.main import app
from infra.compression_page import page
from schemas.config import Gate, Stream
from schemas.errors import Fatal
from tests.unit.trainers import tiny
from trainers.bootstrap import train_first
from trainers.compression.run import compress
from trainers.compression.variants import Wishes

FEW = Wishes(fp16=False, prune=0.0, prune_weights=0.0, student_layers=0)
ONLY_STATIC = ["--no-fp16", "--prune", "0", "--prune-weights", "0", "--student-layers", "0"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one release of a BERT of two small layers."""
    torch.set_num_threads(1)
    base = tiny.build(tmp_path_factory.mktemp("base"), "bert")
    home = tmp_path_factory.mktemp("home")
    stream = Stream.model_validate(
        {"kind": "log", "model": {"base": str(base), "learn": {"min_labels": 50}}, "gate": {"p99_ms": 500}}
    )
    train_first(home, "logs", stream, tiny.lines(5, 300))
    return home


def test_the_command_prints_json_and_writes_a_page(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output is one JSON object with a figure for each variant; the page has plot and table."""
    monkeypatch.setenv("HEADRACE_HOME", str(home))
    target = tmp_path / "page.html"
    told = CliRunner().invoke(
        app, ["models", "compress", "logs", "1", *ONLY_STATIC, "--page", str(target), "--json"]
    )
    assert told.exit_code == 0, told.output
    said = json.loads(told.stdout)
    assert set(said["compression"]) == {"fp32", "int8", "int8-static"}
    assert said["best"] in said["compression"]
    assert "<svg" in target.read_text(encoding="utf-8")


def test_an_unknown_calibration_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says which there are."""
    monkeypatch.setenv("HEADRACE_HOME", str(home))
    told = CliRunner().invoke(app, ["models", "compress", "logs", "1", "--calibration", "guess"])
    assert isinstance(told.exception, Fatal)
    assert "choose minmax, entropy or percentile" in str(told.exception)


def test_torch_and_the_graphs_are_timed_on_the_same_lines(home: Path, tmp_path: Path) -> None:
    """Every peer of the benchmark has a median, and the page escapes its title."""
    done = compress(home / "releases" / "logs" / "1", home, tmp_path, FEW, Gate(), lambda _step: None)
    peers = against_torch(done, rounds=1)
    assert set(peers) == {"fp32", "int8", "int8-static", "torch_1", "torch_2"}
    assert all(value > 0 for value in peers.values())
    assert "<h1>Compression of a&amp;b</h1>" in page("a&b", done.worth)


def test_texts_are_read_from_csv_and_json(tmp_path: Path) -> None:
    """Both forms give texts with labels; another CSV is refused by its columns."""
    table, pairs, other = tmp_path / "a.csv", tmp_path / "a.json", tmp_path / "b.csv"
    table.write_text('"payload","attack_type"\n"x, y","norm"\n')
    pairs.write_text('{"train": [["t", "a"]], "test": [["u", "b"]]}')
    other.write_text("text\nx\n")
    assert read(table) == [("x, y", "norm")]
    assert read(pairs) == [("t", "a"), ("u", "b")]
    with pytest.raises(Fatal, match="no columns `payload` and `attack_type`"):
        read(other)
