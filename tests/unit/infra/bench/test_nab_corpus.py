"""Reading NAB's folder: what is found in it, and the sentence that every broken one gets."""

from pathlib import Path

import pytest

from infra.bench.nab.corpus import Window, read
from schemas.errors import Fatal

ROWS = "timestamp,value\n" + "".join(f"2014-02-14 14:{minute:02}:00,{minute}\n" for minute in range(0, 60, 5))
LABELS = '{"g/a.csv": [["2014-02-14 14:20:00.000000", "2014-02-14 14:35:00.000000"]], "g/b.csv": []}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two series of twelve rows; the first has a window."""
    (tmp_path / "data/g").mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    for name in ("a", "b"):
        (tmp_path / f"data/g/{name}.csv").write_text(ROWS)
    (tmp_path / "labels/combined_windows.json").write_text(LABELS)
    return tmp_path


def test_a_folder_is_read(folder):
    """Names, values, aware times and the rows of the windows."""
    first, second = read(folder)
    assert (first.name, second.name) == ("g/a.csv", "g/b.csv")
    assert first.values == [float(minute) for minute in range(0, 60, 5)]
    assert first.times[0].isoformat() == "2014-02-14T14:00:00+00:00"
    assert (first.windows, second.windows) == ([Window(4, 7)], [])
    assert first.windows[0].rows == 4


def refused(folder: Path, says: str) -> None:
    """Assert that reading ends with such a sentence."""
    with pytest.raises(Fatal, match=says):
        read(folder)


def test_other_encodings_are_refused(folder):
    """A file that is not UTF-8 is named."""
    (folder / "data/g/a.csv").write_bytes(ROWS.encode() + b"\xff\xfe\n")
    refused(folder, r"a.csv is no CSV file in UTF-8")


def test_another_folder_is_refused(tmp_path):
    """Without data/ or labels the message says what is missing and where to get it."""
    refused(tmp_path, r"has no data/; get one by `git clone")
    (tmp_path / "data").mkdir()
    refused(tmp_path, r"has no labels/combined_windows.json")


def test_files_and_labels_have_to_agree(folder):
    """A series without entry and an entry without series both are named."""
    (folder / "data/g/c.csv").write_text(ROWS)
    refused(folder, r"no entry for g/c.csv")
    (folder / "data/g/c.csv").unlink()
    (folder / "data/g/b.csv").unlink()
    refused(folder, r"labels g/b.csv, and data/ has no such file \(1 in all\)")
    (folder / "data/g/a.csv").unlink()
    refused(folder, r"holds no CSV file")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("time,value\n", r"a.csv line 1: the header is `timestamp,value`, not 'time,value'"),
        ("", r"a.csv line 1: the header"),
        ("timestamp,value\n", r"a.csv has no rows"),
        (ROWS + "2014-02-14 15:00:00,high\n", r"a.csv line 14: .* is no row"),
        (ROWS + "2014-02-14 15:00:00,nan\n", r"a.csv line 14: .* not finite"),
        (ROWS + "yesterday,1\n", r"a.csv line 14: 'yesterday,1' is no row"),
        (ROWS + "2014-02-14 15:00:00,1,2\n", r"a.csv line 14"),
    ],
)
def test_a_broken_series_is_refused(folder, text, says):
    """The message names the file and the line."""
    (folder / "data/g/a.csv").write_text(text)
    refused(folder, says)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ("[]", r"combined_windows.json is not"),
        ("{", r"combined_windows.json is not"),
        (LABELS.replace("14:20", "14:21"), r"g/a.csv: no row of the series has the time 2014-02-14 14:21"),
        (LABELS.replace("2014-02-14 14:20", "soon"), r"g/a.csv: Invalid isoformat"),
        (LABELS.replace("14:35", "14:10"), r"g/a.csv: the windows overlap"),
    ],
)
def test_broken_labels_are_refused(folder, labels, says):
    """The message names the file, and the series where there is one."""
    (folder / "labels/combined_windows.json").write_text(labels)
    refused(folder, says)
