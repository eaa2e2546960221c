"""Recorded files: consumes JSONL, CSV or log lines, produces events with labels, in file order.

    *.jsonl  an event a line: a CloudEvent, or a bare payload of one kind; its truth under `label`
    *.csv, *.dat, *.tsv  rows; see `Columns` for which column is the label, which the text, which are readings
    else     log lines, without labels

An event is sent at the replay's rate and bears the time of its sending; what time the file gave is not used.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from infra.demo.plan import ReplaySource
from schemas.errors import Fatal
from schemas.raw import PAYLOADS, TYPES, ApiRequest, LogLine, Payload, SensorReading
from schemas.record import Kind

_TABLES: Final = {".csv", ".dat", ".tsv"}
_LABEL_NAMES: Final = ("attack_type", "label", "class", "target", "y", "gas")
_TEXT_NAMES: Final = ("payload", "text", "message", "content", "body", "line")


@dataclass(frozen=True)
class Recorded:
    """One event of a file; `label` is empty where the file has none."""

    kind: Kind
    data: Payload
    label: str = ""


@dataclass(frozen=True)
class Columns:
    """Where a table keeps what: indices of the label (None: no label) and text, and the readings by name."""

    label: int | None
    text: int | None
    readings: dict[str, int]


def load(source: ReplaySource, kind: Kind | None) -> list[Recorded]:
    """Read the files in order. `kind` is the stream's where it is configured; else the content decides.

    Raises:
        Fatal: a file cannot be read as what its name says; the message names file and line.
    """
    found: list[Recorded] = []
    for path in source.files:
        if not path.is_file():
            raise Fatal(f"--replay {path} is no file")
        suffix = path.suffix.lower()
        if suffix in (".jsonl", ".ndjson"):
            found += _jsonl(path, source, kind)
        elif suffix in _TABLES:
            found += _table(path, source, kind)
        else:
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [Recorded(Kind.LOG, LogLine(message=line)) for line in text.splitlines() if line.strip()]
        if source.limit is not None and len(found) >= source.limit:
            return found[: source.limit]
    if not found:
        raise Fatal(f"there is nothing to replay in {', '.join(map(str, source.files))}")
    return found


def _jsonl(path: Path, source: ReplaySource, kind: Kind | None) -> Iterator[Recorded]:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield _event(msgspec.json.decode(line), source.label or "label", kind)
        except (msgspec.MsgspecError, ValueError, TypeError, KeyError) as error:
            raise Fatal(f"{path}:{number}: {error}") from error


def _event(line: Any, label: str, kind: Kind | None) -> Recorded:
    if not isinstance(line, dict):
        raise ValueError("an event is a JSON object")
    truth = line.pop(label, "")
    named = str(line.get("type", ""))
    for candidate, prefix in TYPES.items():
        if named.startswith(prefix + "."):
            return Recorded(candidate, msgspec.convert(line["data"], PAYLOADS[candidate]), str(truth))
    if kind is None:
        kind = Kind.SENSOR if "values" in line else Kind.API if "path" in line else Kind.LOG
    return Recorded(kind, msgspec.convert(line, PAYLOADS[kind]), str(truth))


def _table(path: Path, source: ReplaySource, kind: Kind | None) -> Iterator[Recorded]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with path.open(newline="", encoding="utf-8", errors="replace") as lines:
        rows = list(csv.reader(lines, delimiter=delimiter))
    if len(rows) < 2:
        return
    has_header = source.header if source.header is not None else _looks_like_header(rows[0], rows[1])
    names = rows[0] if has_header else [f"f{index}" for index in range(len(rows[0]))]
    body = rows[1:] if has_header else rows
    columns = _columns(path, names, body[0], source)
    for row in body:
        if len(row) == len(names):
            yield _row(row, columns, kind)


def _looks_like_header(first: Sequence[str], second: Sequence[str]) -> bool:
    """Tell a header: words where the row below has numbers, or no numbers and one of the usual names."""
    if any(not _is_number(a) and _is_number(b) for a, b in zip(first, second, strict=False)):
        return True
    usual = {name.lower() for name in first} & {*_LABEL_NAMES, *_TEXT_NAMES}
    return bool(usual) and not any(map(_is_number, first))


def _columns(path: Path, names: Sequence[str], sample: Sequence[str], source: ReplaySource) -> Columns:
    """Find the columns: as named, else by a usual name; the label else last, or a first that is a word."""
    text = _named(path, names, source.text) if source.text else _usual(names, _TEXT_NAMES)
    if source.label:
        label = _named(path, names, source.label)
    else:
        found = _usual(names, _LABEL_NAMES)
        word_first = not _is_number(sample[0]) and text != 0
        label = found if found is not None else 0 if word_first else len(names) - 1
    readings = {
        _reading_name(name): index
        for index, name in enumerate(names)
        if index not in (label, text) and _is_number(sample[index])
    }
    return Columns(label, text, {} if text is not None else readings)


def _row(row: Sequence[str], columns: Columns, kind: Kind | None) -> Recorded:
    label = row[columns.label].strip() if columns.label is not None else ""
    if columns.text is None:
        return Recorded(Kind.SENSOR, SensorReading(values=_values(row, columns)), label)
    text = row[columns.text]
    if kind is Kind.LOG:
        return Recorded(Kind.LOG, LogLine(message=text), label)
    return Recorded(Kind.API, ApiRequest(method="GET", path="/", query=urlencode({"q": text})), label)


def _values(row: Sequence[str], columns: Columns) -> dict[str, float | int | str | None]:
    return {name: float(row[i]) if _is_number(row[i]) else None for name, i in columns.readings.items()}


def _named(path: Path, names: Sequence[str], wanted: str) -> int:
    if wanted in names:
        return list(names).index(wanted)
    if wanted.lstrip("-").isdecimal() and -len(names) <= int(wanted) < len(names):
        return int(wanted) % len(names)
    raise Fatal(f"{path} has no column {wanted!r}; it has: {', '.join(names[:20])}")


def _usual(names: Sequence[str], usual: Sequence[str]) -> int | None:
    lowered = [name.lower() for name in names]
    return next((lowered.index(name) for name in usual if name in lowered), None)


def _reading_name(name: str) -> str:
    return name.strip().lower().replace(" ", "_") or "value"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
