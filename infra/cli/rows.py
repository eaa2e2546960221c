"""Files as events: JSON lines, CSV rows or log lines in, CloudEvents with their line numbers out.

A line without an id gets one made of the file's name, the line's number and its content: publishing a file
again makes the same events, which are dropped as duplicates.
"""

import csv
import io
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import PurePath
from typing import IO, Any, Final, Literal, NamedTuple

import msgspec

from schemas.errors import Reason, Rejected
from schemas.raw import structured
from schemas.record import Kind

Format = Literal["jsonl", "csv", "log"]
MAX_LINE_BYTES: Final = 2 * 1024 * 1024
_SUFFIXES: Final[dict[str, Format]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".log": "log",
    ".txt": "log",
}
_ENVELOPE: Final = ("id", "source", "time", "timestamp")
_API_NUMBERS: Final = {"status": int, "duration_ms": float}
_READABLE_AS: Final = {"values": Kind.SENSOR, "method": Kind.API, "path": Kind.API, "message": Kind.LOG}


class Row(NamedTuple):
    """One line as an event in structured mode, and its label where it has one; `error` where it is none."""

    line: int
    event: bytes
    label: str = ""
    error: Rejected | None = None


@dataclass(frozen=True)
class Plan:
    """How a file becomes events. `name` and `salt` go into the ids; empty `stream` leaves it to the kind."""

    name: str
    kind: Kind | None = None
    stream: str = ""
    source: str = ""
    label_column: str = ""
    salt: str = ""

    def event_source(self) -> str:
        """Return the source of lines that name none."""
        return self.source or f"file/{socket.gethostname()}/{self.name}"


def format_of(path: str, head: bytes) -> Format:
    """Tell a file's format by its name, else by how it begins."""
    known = _SUFFIXES.get(PurePath(path).suffix.lower())
    if known is not None:
        return known
    return "jsonl" if head.lstrip().startswith(b"{") else "log"


def read_rows(file: IO[bytes], form: Format, plan: Plan) -> Iterator[Row]:
    """Yield a file's rows; empty lines are passed over. At most one line is held at a time."""
    if form == "csv":
        yield from _csv(file, plan)
        return
    for number, line in _lines(file):
        if not line.strip():
            continue
        if len(line) > MAX_LINE_BYTES:
            oversized = Rejected(Reason.OVERSIZED, f"the line is longer than {MAX_LINE_BYTES} bytes")
            yield Row(number, b"", error=oversized)
            continue
        try:
            yield _json_row(number, line, plan) if form == "jsonl" else _log_row(number, line, plan)
        except Rejected as error:
            yield Row(number, line, error=error)


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield lines without their ends; of one that is too long, its beginning."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        whole = line.endswith(b"\n")
        yield number, line.rstrip(b"\r\n")
        while not whole and (rest := file.readline(MAX_LINE_BYTES)):
            whole = rest.endswith(b"\n")


def _json_row(number: int, line: bytes, plan: Plan) -> Row:
    """Read a CloudEvent, or the bare data of one."""
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Reason.MALFORMED_JSON, str(error)) from error
    if not isinstance(fields, dict):
        raise Rejected(Reason.WRONG_TYPE, "a line is a JSON object: a CloudEvent, or the data of one")
    label = _popped_label(fields, plan)
    if "specversion" not in fields:
        kind = _kind_of(fields, plan)
        envelope = {name: str(fields.pop(name)) for name in _ENVELOPE if fields.get(name) is not None}
        data = fields if kind is not Kind.SENSOR or "values" in fields else {"values": fields}
        return Row(number, _built(number, line, kind, data, envelope, plan), label)
    if plan.stream and "stream" not in fields:
        fields["stream"] = plan.stream
    elif not label:
        return Row(number, line)  # as it came
    return Row(number, msgspec.json.encode(fields), label)


def _log_row(number: int, line: bytes, plan: Plan) -> Row:
    try:
        message = line.decode()
    except UnicodeDecodeError as error:
        raise Rejected(Reason.INVALID_UTF8, f"the line is not UTF-8: {error.reason}") from error
    return Row(number, _built(number, line, Kind.LOG, {"message": message}, {}, plan))


def _csv(file: IO[bytes], plan: Plan) -> Iterator[Row]:
    """Read rows by the names in the first line; bytes that are no UTF-8 spoil their row alone."""
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    delimiter = "\t" if plan.name.endswith(".tsv") else ","
    try:
        yield from _csv_rows(csv.DictReader(text, delimiter=delimiter, restkey=""), plan)
    finally:
        text.detach()  # the file is its opener's to close


def _csv_rows(reader: "csv.DictReader[str]", plan: Plan) -> Iterator[Row]:
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(reader.line_num, b"", error=Rejected(Reason.WRONG_TYPE, f"no CSV row: {error}"))
            continue
        try:
            yield _csv_row(reader.line_num, cells, plan)
        except Rejected as error:
            yield Row(reader.line_num, b"", error=error)


def _csv_row(number: int, cells: dict[str, Any], plan: Plan) -> Row:
    if "" in cells:
        raise Rejected(Reason.UNKNOWN_FIELD, "the row has more cells than the first line has names")
    try:
        content = msgspec.json.encode(cells)
    except UnicodeEncodeError as error:
        raise Rejected(Reason.INVALID_UTF8, "the row is not UTF-8") from error
    label = _popped_label(cells, plan)
    kind = _kind_of(cells, plan)
    envelope = {name: cells.pop(name) for name in _ENVELOPE if cells.get(name)}
    data: dict[str, Any]
    if kind is Kind.SENSOR:
        rest = {name: cell for name, cell in cells.items() if name not in _ENVELOPE}
        data = {"values": {name: cell or None for name, cell in rest.items()}}
    else:
        data = {name: _typed(name, cell) for name, cell in cells.items() if cell}
    return Row(number, _built(number, content, kind, data, envelope, plan), label)


def _typed(name: str, cell: str) -> Any:
    """Read the numbers of a request; what is no number is left for the contract to refuse."""
    try:
        return _API_NUMBERS[name](cell) if name in _API_NUMBERS else cell
    except ValueError:
        return cell


def _kind_of(fields: Mapping[str, Any], plan: Plan) -> Kind:
    """Return the kind that was asked for, else the one whose fields these are, else readings."""
    if plan.kind is not None:
        return plan.kind
    return next((kind for name, kind in _READABLE_AS.items() if name in fields), Kind.SENSOR)


def _popped_label(fields: dict[str, Any], plan: Plan) -> str:
    """Take the label out: from the data of a CloudEvent too, since its contract knows no label."""
    if not plan.label_column:
        return ""
    places = [fields, fields.get("data")]
    found = [p.pop(plan.label_column) for p in places if isinstance(p, dict) and plan.label_column in p]
    return str(found[0]) if found and found[0] is not None else ""


def _built(
    number: int, content: bytes, kind: Kind, data: dict[str, Any], envelope: Mapping[str, str], plan: Plan
) -> bytes:
    event = structured(
        envelope.get("id") or _line_id(number, content, plan),
        envelope.get("source") or plan.event_source(),
        kind,
        data,
        time=envelope.get("time") or envelope.get("timestamp", ""),
        stream=plan.stream,
    )
    return msgspec.json.encode(event)


def _line_id(number: int, content: bytes, plan: Plan) -> str:
    place = f"{plan.name}\0{plan.salt}\0{number}\0".encode()
    return f"{number}-{blake2b(place + content, digest_size=10).hexdigest()}"
