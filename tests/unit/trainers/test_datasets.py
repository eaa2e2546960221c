"""Datasets on disk, and the command that shows them: found, listed, exported, and pruned with their runs."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from infra.cli.main import app
from infra.runtime.durable import write
from schemas.config import Learn
from schemas.errors import Fatal
from tests.unit.trainers import samples
from trainers.dataset import Dataset, rows_of
from trainers.datasets import find, prune, stored
from trainers.memory import Memory, Origin, memory_file
from trainers.runs import Runs

NOW = datetime(2026, 3, 5, tzinfo=UTC)
Command = Callable[..., Result]


def _collect(home: Path, stream: str, number: int, state: str = "released") -> Dataset:
    """Leave a run as the trainer does, each with other rows."""
    runs, at = Runs(home), NOW + timedelta(hours=number)
    run = runs.begin(stream, None, at)
    run.state = state
    runs.keep(run)
    seed = 100 + number
    rows = rows_of(samples.readings(seed, 60) if stream == "host" else samples.requests(seed, normal=60))
    origin = Origin(stream=stream, alert=f"drift-{number}", created_at=at)
    data = Memory().dataset(Learn(), rows, [], None, origin)
    write(runs.folder(run) / "dataset.json", data)
    return data


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`headrace data …` on a data folder of this test's own."""
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    return lambda *words: CliRunner().invoke(app, ["data", *words])


def test_datasets_are_found_by_run_and_by_the_beginning_of_their_version(tmp_path: Path) -> None:
    """Oldest first; what is not there, or might be several, is told with what there is."""
    made = [_collect(tmp_path, "requests", number) for number in (1, 2)]
    made.append(_collect(tmp_path, "host", 3))
    assert [one.description.sha256 for one in stored(tmp_path)] == [data.sha256() for data in made]
    assert [one.description.stream for one in stored(tmp_path, "host")] == ["host"]
    first = stored(tmp_path)[0]
    assert find(tmp_path, first.run) == find(tmp_path, made[0].sha256()[:8]) == first
    with pytest.raises(Fatal, match=f"the newest are {made[0].sha256()[:12]}"):
        find(tmp_path, "0nothing")
    with pytest.raises(Fatal, match="no dataset is called ''"):
        find(tmp_path, "")


def test_older_datasets_lose_their_rows_and_keep_what_is_known_of_them(tmp_path: Path) -> None:
    """As many as configured keep them, and every run that is not over; other streams are left alone."""
    made = [_collect(tmp_path, "requests", number) for number in range(5)]
    going_on = _collect(tmp_path, "requests", -1, state="training")
    _collect(tmp_path, "host", -2)
    before = sum(one.size_bytes for one in stored(tmp_path))
    assert len(prune(tmp_path, "requests", keep=2)) == 3
    assert prune(tmp_path, "requests", keep=2) == []
    known = {one.description.sha256: one.description for one in stored(tmp_path)}
    assert [known[data.sha256()].pruned for data in made] == [True, True, True, False, False]
    assert not known[going_on.sha256()].pruned
    assert known[made[0].sha256()].statistics == (made[0].description and made[0].description.statistics)
    assert sum(one.size_bytes for one in stored(tmp_path)) < 0.7 * before
    assert not next(one for one in stored(tmp_path) if one.description.stream == "host").description.pruned


def test_a_dataset_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """And what to do about it."""
    _collect(tmp_path, "requests", 1)
    stored(tmp_path)[0].path.write_bytes(b"{")
    with pytest.raises(Fatal, match=r"dataset\.json cannot be read"):
        stored(tmp_path)
    assert prune(tmp_path, "requests", keep=1) == []


def test_list_and_show(tmp_path: Path, command: Command) -> None:
    """Versions, rows by side, lineage, classes, windows, dictionary; the same as JSON."""
    assert "no dataset yet" in command("list").stdout
    data = _collect(tmp_path, "host", 1)
    version = data.sha256()
    assert version[:12] in command("list").stdout
    (row,) = json.loads(command("list", "--json").stdout)
    assert row["dataset"] == version and row["alert"] == "drift-1" and not row["pruned"]
    assert row["rows"]["training"] == len(data.training)
    page = command("show", version[:8]).stdout
    for part in ("drift-1", "events.raw:0: 0 to 59", "busy", "values.cpu", "fan_rpm: min", "dictionary"):
        assert part in page
    known = json.loads(command("show", version[:8], "--json").stdout)
    assert known["statistics"]["features"]["cpu"]["p50"] > 0
    missing = command("show", "ffffffffff")
    assert missing.exit_code != 0
    assert isinstance(missing.exception, Fatal)


def test_export_as_json_lines_and_parquet(tmp_path: Path, command: Command) -> None:
    """Every row with its side; the two formats say the same."""
    data = _collect(tmp_path, "host", 1)
    version = data.sha256()[:10]
    lines = [msgspec.json.decode(line) for line in command("export", version).stdout.splitlines()]
    assert len(lines) == sum(len(part) for part in data.parts().values())
    assert sum(line["side"] == "test" for line in lines) == len(data.test)
    file = tmp_path / "rows.parquet"
    told = command("export", version, str(file), "--format", "parquet", "--json")
    assert json.loads(told.stdout)["rows"] == len(lines)
    table = pq.read_table(file).to_pylist()
    assert [row["id"] for row in table] == [line["id"] for line in lines]
    assert [row["values.cpu"] for row in table] == [line["values.cpu"] for line in lines]
    assert all(row["time"].tzinfo is not None for row in table)
    one_side = command("export", version, str(tmp_path / "test.jsonl"), "--side", "test")
    assert f"{len(data.test)} rows" in one_side.stdout


def test_export_says_what_it_cannot_do(tmp_path: Path, command: Command) -> None:
    """Parquet to the terminal, rows that are gone, a file that cannot be written."""
    data = _collect(tmp_path, "requests", 1)
    version = data.sha256()[:10]
    assert "name a FILE" in command("export", version, "--format", "parquet").output
    refused = command("export", version, str(tmp_path / "no" / "where.jsonl"))
    assert isinstance(refused.exception, Fatal) and "cannot be written" in str(refused.exception)
    _collect(tmp_path, "requests", 2)
    prune(tmp_path, "requests", keep=1)
    gone = command("export", version)
    assert isinstance(gone.exception, Fatal) and "keep_datasets" in str(gone.exception)
    assert "description only" in command("list").stdout
    assert "no more" in command("show", version).stdout


def test_the_reservoir_is_shown_by_class_and_origin(tmp_path: Path, command: Command) -> None:
    """As a table and as every row; a stream that remembers nothing is told which do."""
    memory = Memory(memory_file(tmp_path, "host"))
    data = memory.dataset(Learn(replay=40), rows_of(samples.readings(1, 200)), [], None, Origin())
    page = command("reservoir", "host").stdout
    assert "50 rows" in page and data.sha256()[:12] in page
    assert [line.split()[-1] for line in page.splitlines() if "class" in line] == ["25", "25"]
    rows = json.loads(command("reservoir", "host", "--json").stdout)["rows"]
    assert len(rows) == 50 and {row["dataset"] for row in rows} == {data.sha256()}
    missing = command("reservoir", "hots")
    assert isinstance(missing.exception, Fatal) and "there are: host" in str(missing.exception)


def test_help_teaches(command: Command) -> None:
    """Each command says what it shows; the group where to begin."""
    assert "Start with `headrace data list`" in " ".join(command("--help").output.split())
    for word in ("list", "show", "export", "reservoir"):
        assert "--json" in command(word, "--help").output
