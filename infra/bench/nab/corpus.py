"""NAB's folder: consumes data/ and labels/combined_windows.json, produces series with their windows.

FOLDER/data/GROUP/NAME.csv               timestamp,value; a row a reading, in the order of time
FOLDER/labels/combined_windows.json      {"GROUP/NAME.csv": [[first timestamp, last timestamp], …], …}
"""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import Fatal

_DATA: Final = "data"
_LABELS: Final = "labels/combined_windows.json"
_HEADER: Final = ["timestamp", "value"]


class Window(msgspec.Struct, frozen=True):
    """A labelled anomaly: its first and its last row, counted from 0."""

    first: int
    last: int

    @property
    def rows(self) -> int:
        return self.last - self.first + 1


class Series(msgspec.Struct, frozen=True):
    """A metric: its name below data/, times (UTC), values and the windows in the order of time."""

    name: str
    times: list[datetime]
    values: list[float]
    windows: list[Window]


def read(folder: Path) -> list[Series]:
    """Return the folder's series in the order of their names.

    Raises:
        Fatal: the folder is none of NAB's, or a file in it cannot be read; the message names the line.
    """
    data, labels = folder / _DATA, folder / _LABELS
    if not data.is_dir() or not labels.is_file():
        missing = f"{_DATA}/" if not data.is_dir() else _LABELS
        raise Fatal(
            f"{folder} is no folder of NAB's: it has no {missing}; get one by "
            "`git clone --depth 1 https://github.com/numenta/NAB` and name the folder NAB"
        )
    windows = _labels(labels)
    paths = {path.relative_to(data).as_posix(): path for path in sorted(data.rglob("*.csv"))}
    _agree(labels, set(paths), set(windows))
    return [_series(name, path, windows[name], labels) for name, path in paths.items()]


def _agree(labels: Path, series: set[str], labelled: set[str]) -> None:
    """Refuse a file without an entry, and an entry without its file: either would change the score."""
    if not series:
        raise Fatal(f"{labels.parent.parent / _DATA} holds no CSV file")
    if without := sorted(series - labelled):
        raise Fatal(f'{labels} has no entry for {without[0]}; a series without anomalies is labelled "[]"')
    if without := sorted(labelled - series):
        raise Fatal(f"{labels} labels {without[0]}, and {_DATA}/ has no such file ({len(without)} in all)")


def _labels(path: Path) -> dict[str, list[tuple[str, str]]]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, list[tuple[str, str]]])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Fatal(f'{path} is not {{"GROUP/NAME.csv": [[first, last], …]}}: {error}') from error


def _series(name: str, path: Path, labelled: list[tuple[str, str]], labels: Path) -> Series:
    times: list[datetime] = []
    values: list[float] = []
    for number, row in _rows(path):
        try:
            time, value = row
            times.append(_time(time))
            values.append(_finite(value))
        except ValueError as error:
            raise Fatal(f"{path} line {number}: {','.join(row)[:60]!r} is no row: {error}") from error
    if not times:
        raise Fatal(f"{path} has no rows")
    return Series(name, times, values, _windows(name, times, labelled, labels))


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows below the header with their line numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        try:
            if (header := next(rows, [])) != _HEADER:
                raise Fatal(f"{path} line 1: the header is `timestamp,value`, not {','.join(header)[:60]!r}")
            for row in rows:
                yield rows.line_num, row
        except (UnicodeDecodeError, csv.Error) as error:
            raise Fatal(f"{path} is no CSV file in UTF-8: {error}") from error


def _windows(name: str, times: list[datetime], labelled: list[tuple[str, str]], labels: Path) -> list[Window]:
    """Find the rows of the labelled times; of rows with equal times the first counts, as NAB has it."""
    row: dict[datetime, int] = {}
    for at, time in enumerate(times):
        row.setdefault(time, at)
    try:
        found = [Window(row[_time(first)], row[_time(last)]) for first, last in labelled]
    except ValueError as error:
        raise Fatal(f"{labels}, {name}: {error}") from error
    except KeyError as error:
        raise Fatal(f"{labels}, {name}: no row of the series has the time {error.args[0]}") from error
    ends = [end for window in found for end in (window.first, window.last)]
    if ends != sorted(ends):
        raise Fatal(f"{labels}, {name}: the windows overlap, or are not in the order of time")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


def _time(text: str) -> datetime:
    """Read a time; NAB's have no zone and are taken for UTC."""
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
