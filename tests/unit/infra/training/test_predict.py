"""`headrace predict`: an answer a row, whole files, and errors in the rows that they are of."""

import msgspec
import pytest
from typer.testing import CliRunner

from infra.cli.main import app
from schemas.errors import Fatal
from tests.unit.trainers import tiny

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """A trained tagger's folder."""
    folder = tmp_path_factory.mktemp("tagger")
    base = tiny.build(folder / "base", "bert")
    rows = "".join(f"{' '.join(t.words)},{' '.join(t.tags)}\n" for t in tiny.tagged(1, 60))
    (folder / "data.csv").write_text("words,tags\n" + rows)
    out = ["--out", str(folder / "out"), "--mode", "full", "--epochs", "1", "--threads", "1"]
    ran = RUNNER.invoke(
        app, ["train", str(folder / "data.csv"), "--task", "tokens", "--base", str(base), *out]
    )
    assert ran.exit_code == 0, ran.output
    return folder / "out"


def _lines(text):
    return [msgspec.json.decode(line) for line in text.splitlines()]


def test_rows_without_a_truth_are_answered(tagger, tmp_path):
    """A file of another column's name and without tags is answered, to standard output alone."""
    data = tmp_path / "new.csv"
    data.write_text("sentence\nanna visited oslo\nboris sold the lamp\n")
    ran = RUNNER.invoke(app, ["predict", str(tagger), str(data), "--column", "words=sentence"])
    assert ran.exit_code == 0, ran.output
    found = _lines(ran.stdout)
    assert [row["words"] for row in found] == [["anna", "visited", "oslo"], ["boris", "sold", "the", "lamp"]]
    assert all(len(row["tags"]) == len(row["words"]) for row in found)


def test_a_bad_row_leaves_no_half_file(tagger, tmp_path):
    """A row that cannot be read is named, and the file of answers is not begun; --skip-bad leaves it out."""
    data = tmp_path / "new.csv"
    data.write_text('words\nanna visited oslo\n""\n')
    out = tmp_path / "answers" / "new.jsonl"
    command = ["predict", str(tagger), str(data), "--out", str(out)]
    ran = RUNNER.invoke(app, command)
    assert isinstance(ran.exception, Fatal) and "new.csv" in str(ran.exception)
    assert not out.exists()
    ran = RUNNER.invoke(app, [*command, "--skip-bad"])
    assert ran.exit_code == 0, ran.output
    assert len(_lines(out.read_text())) == 1
    assert [path.name for path in out.parent.iterdir()] == ["new.jsonl"]
