"""Which files a backfill reads."""

from pathlib import Path

import pytest

from infra.cli.flink_backfill import arguments
from infra.flink.errors import FlinkError
from infra.flink.files import found


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files, which is where people are."""
    for name in ("a.jsonl", "b.jsonl.gz", "deep/c.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"{}\n")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_paths_and_globs_become_absolute_and_each_file_comes_once(archive: Path):
    """What a folder holds is not named a second time."""
    assert found(["a.jsonl", "./*.jsonl", str(archive / "a.jsonl")]) == [str(archive / "a.jsonl")]
    assert found(["**/*.jsonl"]) == [str(archive / "a.jsonl"), str(archive / "deep/c.jsonl")]
    assert found(["deep/c.jsonl", "deep", "a.jsonl"]) == [str(archive / "deep"), str(archive / "a.jsonl")]


def test_a_name_with_the_signs_of_a_glob_is_that_file(archive: Path):
    """The file that is there wins."""
    (archive / "x[1].jsonl").write_bytes(b"")
    assert found(["x[1].jsonl"]) == [str(archive / "x[1].jsonl")]


def test_uris_are_the_clusters_affair(archive: Path):
    """They go as they are, and are not looked for here."""
    assert found(["s3://bucket/day", "a.jsonl", "file:///nowhere"]) == [
        str(archive / "a.jsonl"),
        "s3://bucket/day",
        "file:///nowhere",
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.jsonl", "no such file or folder here"),
        ("*.csv", "nothing is called so"),
        ("empty", "there is no file in"),
    ],
)
@pytest.mark.usefixtures("archive")
def test_what_is_not_there_is_told(name: str, said: str):
    """With the name as it was written."""
    with pytest.raises(FlinkError, match=rf"--files .*{name[1:]}: .*{said}"):
        found([name])


def test_a_glob_that_the_shell_spread_out_is_taken_whole(archive: Path):
    """The words that follow belong to it, up to the job's own options."""
    told = arguments("backfill", ["a.jsonl"], ["b.jsonl.gz", "--checkpoint", "3"])
    assert told == ["--files", str(archive / "a.jsonl"), str(archive / "b.jsonl.gz"), "--checkpoint", "3"]
    assert arguments("backfill", [], ["--end", "0:5"]) == ["--end", "0:5"]


@pytest.mark.usefixtures("archive")
def test_other_jobs_take_no_files():
    """The message says which one does."""
    with pytest.raises(FlinkError, match=r"clean reads topics; .*run backfill --files"):
        arguments("clean", ["a.jsonl"], [])
