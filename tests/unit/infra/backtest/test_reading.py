"""Files in, rows out: formats, columns, bad lines, time order."""

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.backtest.plan import ColumnPlan
from infra.backtest.reading import read
from schemas.errors import Fatal
from tests.data import data_folder

CSV = "at,heat,state,y\n2026-01-01T00:00:02Z,1.5,on,a\n2026-01-01T00:00:01Z,2.5,off,b\n"


def written(folder: Path, name: str, content: str | bytes) -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_rows_come_in_the_order_of_their_time(tmp_path):
    """A time column sorts the rows, says how many were out of order, and is no feature."""
    history = read([written(tmp_path, "a.csv", CSV)], ColumnPlan(time="at"))
    assert [row.label for row in history.rows] == ["b", "a"]
    assert [row.number for row in history.rows] == [0, 1]
    assert history.rows[1].at_s - history.rows[0].at_s == 1.0
    assert history.disordered == 1
    assert history.features == ("heat", "state")
    assert history.rows[1].values == {"heat": 1.5, "state": "on"}


def test_without_a_time_column_the_file_order_counts(tmp_path):
    """The row's number stands for its time, and the last column is the label."""
    history = read([written(tmp_path, "a.csv", CSV)], ColumnPlan(drop=("at",)))
    assert [(row.at_s, row.label) for row in history.rows] == [(0.0, "a"), (1.0, "b")]


def test_every_format_gives_the_same_rows(tmp_path):
    """CSV, semicolons, JSON lines, Parquet and ARFF of one table are one history."""
    rows: list[dict[str, object]] = [
        {"x": 1.5, "w": "on", "y": "p"},
        {"x": None, "w": "off", "y": "n"},
        {"x": 2.0, "w": "on", "y": "p"},
    ]
    lines = [["" if value is None else str(value) for value in row.values()] for row in rows]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "t.parquet")
    paths = [
        written(tmp_path, "t.csv", "x,w,y\n" + "".join(",".join(cells) + "\n" for cells in lines)),
        written(tmp_path, "s.csv", "x;w;y\n" + "".join(";".join(cells) + "\n" for cells in lines)),
        written(tmp_path, "t.jsonl", b"\n".join(msgspec.json.encode(row) for row in rows)),
        tmp_path / "t.parquet",
        written(
            tmp_path,
            "t.arff",
            "% a comment\n@RELATION t\n@attribute x REAL\n"
            "@attribute 'w' {on,off}\n@attribute y {p,n}\n@data\n"
            + "".join(",".join(cell or "?" for cell in cells) + "\n" for cells in lines),
        ),
    ]
    found = [read([path], ColumnPlan()).rows for path in paths]
    assert found[0][0].values == {"x": 1.5, "w": "on"} and found[0][1].values == {"w": "off"}
    assert all(rows == found[0] for rows in found)


def test_a_bad_line_is_named_and_the_rest_goes_on(tmp_path):
    """What is no number, not finite, of another width or not UTF-8 is counted with file, line and column."""
    good = "".join(f"{number},{number % 2}\n" for number in range(20))
    bad = b"x,y\n" + good.encode() + b"oops,1\ninf,0\n1,2,3\n\xff,1\n7,1\n"
    history = read([written(tmp_path, "a.csv", bad)], ColumnPlan())
    assert len(history.rows) == 21 and history.bad == 4
    assert [str(problem) for problem in history.problems] == [
        "a.csv line 22 column 'x': 'oops' is no number",
        "a.csv line 23 column 'x': 'inf' is not finite",
        "a.csv line 24: 3 cells where there are 2 columns",
        "a.csv line 25: not UTF-8",
    ]


def test_broken_json_lines_are_left_out(tmp_path):
    """A line that is no JSON object spoils itself alone; nested fields are columns of their own."""
    path = written(tmp_path, "a.jsonl", '{"a":{"b":1},"y":"p"}\nnope\n[1]\n{"a":{"b":2},"y":"n"}\n')
    history = read([path], ColumnPlan())
    assert [row.values for row in history.rows] == [{"a.b": 1.0}, {"a.b": 2.0}]
    assert [problem.line for problem in history.problems] == [2, 3]


def test_files_without_a_header_name_their_columns_by_number():
    """Batches of the gas array: the label is column 0, and each file's beginning is known."""
    folder = data_folder() / "gas_sensor_drift"
    history = read([folder / f"batch{b}.dat" for b in (1, 2)], ColumnPlan(label="0", header=False))
    assert history.files == [("batch1.dat", 0), ("batch2.dat", 445)]
    assert len(history.rows) == 445 + 1244 and history.bad == 0
    assert history.rows[0].label == "Ethanol" and len(history.rows[0].values) == 129


def test_text_is_told_from_categories():
    """Payloads are text, their few kinds are labels or categories."""
    history = read(
        [data_folder() / "http_params" / "payload_train.csv"],
        ColumnPlan(label="attack_type", drop=("label",)),
    )
    assert history.text == ("payload",) and history.features == ("length",)


def test_a_crowd_of_words_is_hashed(tmp_path):
    """A column of hundreds of short names becomes a few dozen categories, the same name always the same."""
    lines = "".join(f"u{number % 300},{number % 2}\n" for number in range(900))
    history = read([written(tmp_path, "a.csv", "user,y\n" + lines)], ColumnPlan())
    assert len({row.values["user"] for row in history.rows}) <= 32
    assert history.rows[5].values == history.rows[305].values


def test_a_row_without_a_label_is_kept_unlabelled(tmp_path):
    """Its truth is empty: it is answered and never judged."""
    history = read([written(tmp_path, "a.csv", "x,y\n1,a\n2,\n3,?\n")], ColumnPlan())
    assert [row.label for row in history.rows] == ["a", "", ""]


@pytest.mark.parametrize(
    ("content", "plan", "says"),
    [
        ("x,y\n1,a\n", ColumnPlan(label="z"), "--label: .* has no column 'z'; it has: x, y"),
        ("x,y\n1,a\n", ColumnPlan(drop=("q",)), "--drop: .* has no column 'q'"),
        ("x,x\n1,a\n", ColumnPlan(), "two columns called 'x'"),
        ("", ColumnPlan(), "is empty"),
        ("e,y\n1,a\nx,a\n", ColumnPlan(time="e", label="y", errors="y"), "nothing to replay.*no error bit"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, content, plan, says):
    """A missing column, a header that is none and an empty file end with a sentence on what to do."""
    with pytest.raises(Fatal, match=says):
        read([written(tmp_path, "a.csv", content)], plan)


def test_a_missing_file_is_said(tmp_path):
    """The path is named."""
    with pytest.raises(Fatal, match=r"gone.csv is no file"):
        read([tmp_path / "gone.csv"], ColumnPlan())
