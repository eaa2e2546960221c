"""Files as tables: consumes CSV, Parquet, JSON lines or ARFF, produces named columns and lines of cells.

A line that is none of its format is yielded with what is wrong with it; the lines after it go on.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from math import isnan
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from infra.backtest import arff
from schemas.errors import Fatal

Cell = float | str | None
"""A number, a word, or nothing. Cells of text files are words until their column is known to be numbers."""

MISSING: Final = frozenset({"", "?", "na", "n/a", "nan", "null", "none"})
_SUFFIXES: Final = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".arff": "arff",
}
_DELIMITERS: Final = (",", ";", "\t", "|")
_LOOK_AHEAD: Final = 1000


class Line(NamedTuple):
    """One line's cells; `problem` says why it has none."""

    number: int
    cells: Sequence[Cell]
    problem: str = ""


@dataclass
class Table:
    """A file's columns and its lines, read as they are taken."""

    path: Path
    names: tuple[str, ...]
    lines: Iterator[Line]


def open_table(path: Path, *, header: bool | None = None) -> Table:
    """Open a file by its suffix, else by how it begins; `header` None looks whether there is one.

    Raises:
        Fatal: there is no such file, or its beginning is none of the formats.
    """
    if not path.is_file():
        raise Fatal(f"{path} is no file; give a CSV, Parquet, JSON lines or ARFF file")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.strip():
        raise Fatal(f"{path} is empty")
    form = _SUFFIXES.get(path.suffix.lower()) or _by_content(head)
    if form == "parquet":
        return _parquet(path)
    if form == "jsonl":
        return _json_lines(path)
    if form == "arff":
        return _arff(path)
    return _csv(path, head, header=header)


def missing(cell: Cell) -> bool:
    """Tell whether a cell holds nothing: empty, `?`, NA, NaN, null, none."""
    if cell is None:
        return True
    return isnan(cell) if isinstance(cell, float) else cell.lower() in MISSING


def is_number(cell: Cell) -> bool:
    """Tell whether a cell can be read as a number."""
    if isinstance(cell, float):
        return True
    try:
        float(cell or "")
    except ValueError:
        return False
    return True


def _by_content(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \r\n\t")
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"{"):
        return "jsonl"
    return "arff" if start[:9].lower() == b"@relation" or start.startswith(b"%") else "csv"


def _csv(path: Path, head: bytes, *, header: bool | None) -> Table:
    first = head.decode("utf-8-sig", errors="replace").splitlines()[0]
    delimiter = max(_DELIMITERS, key=first.count)
    rows = _csv_rows(path, delimiter)
    ahead = list(islice(rows, 2))
    top = next((line for line in ahead if not line.problem), None)
    if top is None:
        raise Fatal(f"{path} holds no row: {ahead[0].problem if ahead else 'it is empty'}")
    named = header if header is not None else _looks_like_header(ahead)
    width = len(top.cells)
    names = tuple(str(cell) for cell in top.cells) if named else tuple(map(str, range(width)))
    body = chain((line for line in ahead if not (named and line is top)), rows)
    return Table(path, _distinct(path, names), (_fitting(line, width) for line in body))


def _csv_rows(path: Path, delimiter: str) -> Iterator[Line]:
    with path.open("rb") as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.reader(text, delimiter=delimiter, skipinitialspace=True)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Line(reader.line_num, (), f"no CSV: {error}")
                continue
            if not cells:
                continue
            if any(not cell.isascii() and _broken(cell) for cell in cells):
                yield Line(reader.line_num, (), "not UTF-8")
                continue
            yield Line(reader.line_num, [cell.strip() for cell in cells])


def _broken(cell: str) -> bool:
    try:
        cell.encode()
    except UnicodeEncodeError:
        return True
    return False


def _fitting(line: Line, width: int) -> Line:
    if line.problem or len(line.cells) == width:
        return line
    return Line(line.number, (), f"{len(line.cells)} cells where there are {width} columns")


def _looks_like_header(ahead: Sequence[Line]) -> bool:
    """Tell a header: words where the row below has numbers, or not one number in a row of different words."""
    first = ahead[0].cells
    second = ahead[1].cells if len(ahead) > 1 else ()
    if any(not is_number(a) and is_number(b) for a, b in zip(first, second, strict=False)):
        return True
    return not any(map(is_number, first)) and len(set(first)) == len(first) and not any(map(missing, first))


def _distinct(path: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Fatal(f"{path} has two columns called {twice[0]!r}; use --no-header if its first row is data")
    return names


def _json_lines(path: Path) -> Table:
    lines = _objects(path)
    ahead = list(islice(lines, _LOOK_AHEAD))
    names = tuple(dict.fromkeys(name for _, fields, _ in ahead for name in fields))
    if not names:
        raise Fatal(f"{path} line 1: {ahead[0][2] if ahead else 'it holds no JSON object'}")
    rows = (
        Line(number, () if problem else [fields.get(name) for name in names], problem)
        for number, fields, problem in chain(ahead, lines)
    )
    return Table(path, names, rows)


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Cell], str]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                fields = msgspec.json.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                yield number, {}, f"no JSON: {error}"
                continue
            if isinstance(fields, dict):
                yield number, dict(_flat(fields, "")), ""
            else:
                yield number, {}, "a line is a JSON object whose fields are the columns"


def _flat(fields: dict[str, Any], prefix: str) -> Iterator[tuple[str, Cell]]:
    """Yield the fields of nested objects as `outer.inner`."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, as_cell(value)


def as_cell(value: Any) -> Cell:
    """Return a typed value as a cell; times as ISO 8601, lists as JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int | float):
        with suppress(OverflowError):
            return float(value)
    return msgspec.json.encode(value).decode().strip('"')


def _parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise Fatal(f"{path} is no Parquet file: {error}") from error
    names = tuple(file.schema_arrow.names)
    return Table(path, names, _parquet_rows(file, names))


def _parquet_rows(file: Any, names: Sequence[str]) -> Iterator[Line]:
    number = 0
    for batch in file.iter_batches(batch_size=4096):
        columns = [batch.column(name).to_pylist() for name in names]
        for cells in zip(*columns, strict=True):
            number += 1
            yield Line(number, [as_cell(cell) for cell in cells])


def _arff(path: Path) -> Table:
    lines = _csv_free_text(path)
    names = arff.header(path, lines)
    rows = (Line(number, cells, problem) for number, cells, problem in arff.rows(lines, names))
    return Table(path, names, rows)


def _csv_free_text(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from enumerate(file, start=1)
