"""Recorded files as raw events: consumes tables, JSON or log lines, produces what a publisher would send.

A table's columns are a sensor's readings by their names; a request's or log line's fields by theirs, else its
text column is the query or the message. Rows without a time are a second apart.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from infra.backtest.columns import BadCell, Columns, resolve
from infra.backtest.plan import Plan
from infra.backtest.reading import seconds_of
from infra.backtest.row import History, Problem
from infra.backtest.tables import Cell, Table, missing, open_table
from infra.cli.rows import Format, read_rows
from infra.cli.rows import Plan as RowPlan
from schemas.errors import Fatal
from schemas.event_time import parse
from schemas.raw import structured
from schemas.record import Kind

_SAMPLE: Final = 1000
_LINES: Final[dict[str, Format]] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".log": "log"}
_BEGIN_S: Final = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_REQUEST: Final = ("method", "path", "query", "body", "client_ip", "user_agent")
_LINE: Final = ("message", "level", "logger", "host")


@dataclass(frozen=True, slots=True)
class Recorded:
    """One event to publish, where it was read, its truth, and the event time at which it is sent."""

    file: str
    line: int
    event: bytes
    label: str
    at_s: float


def recorded(plan: Plan, stream: str, kind: Kind, history: History) -> list[Recorded]:
    """Read the plan's files as events of a stream; what is no row of its file is refused in `history`.

    Raises:
        Fatal: a file cannot be read, or has nothing that an event of this kind is made of.
    """
    found: list[Recorded] = []
    for path in plan.files:
        history.files.append((path.name, len(found)))
        form = _LINES.get(path.suffix.lower())
        if form is None:
            table = open_table(path, header=plan.columns.header)
            found += _table(table, plan, stream, kind, history, len(found))
        else:
            found += _published(path, form, plan, stream, kind, history, len(found))
    if plan.columns.time:
        history.timed = True
        found.sort(key=lambda event: event.at_s)
    return found


def _table(
    table: Table, plan: Plan, stream: str, kind: Kind, history: History, begin: int
) -> Iterator[Recorded]:
    ahead = list(islice(table.lines, _SAMPLE))
    columns = resolve(table, [line.cells for line in ahead if not line.problem], plan.columns)
    history.label = "" if columns.label is None else columns.names[columns.label]
    now = datetime.now(UTC)
    name = table.path.name
    for number, line in enumerate(chain(ahead, table.lines), start=begin):
        if line.problem:
            history.refuse(Problem(name, line.number, "", line.problem))
            continue
        try:
            at_s = _BEGIN_S + number if columns.time is None else seconds_of(line.cells, columns, now)
        except BadCell as error:
            history.refuse(Problem(name, line.number, error.column, str(error)))
            continue
        event = structured(
            f"{name}:{line.number}",
            "backtest",
            kind,
            _payload(kind, line.cells, columns),
            time=datetime.fromtimestamp(at_s, UTC).isoformat(),
            stream=stream,
        )
        yield Recorded(name, line.number, msgspec.json.encode(event), columns.truth(line.cells), at_s)


def _payload(kind: Kind, cells: Sequence[Cell], columns: Columns) -> dict[str, Any]:
    if kind is Kind.SENSOR:
        return {"values": {_reading(columns.names[at]): _known(cells[at]) for at in columns.numbers}}
    at = {name: number for number, name in enumerate(columns.names) if number != columns.label}
    wanted = _REQUEST if kind is Kind.API else _LINE
    fields = {name: str(cells[at[name]]) for name in wanted if name in at and not missing(cells[at[name]])}
    if ("path" if kind is Kind.API else "message") in fields:
        return fields
    if not columns.text:
        raise Fatal(f"no column looks like the text of a {kind.value} event; name it with --text COLUMN")
    text = columns.prose(cells)
    if kind is Kind.LOG:
        return {"message": text}
    return {"method": "GET", "path": "/", "query": urlencode({"q": text})}


def _known(cell: Cell) -> Cell:
    return None if missing(cell) else cell


def _reading(name: str) -> str:
    return name.strip().lower().replace(" ", "_") or "value"


def _published(
    path: Path, form: Format, plan: Plan, stream: str, kind: Kind, history: History, begin: int
) -> Iterator[Recorded]:
    """Read lines as `headrace publish` does: CloudEvents, bare payloads, log lines."""
    if not path.is_file():
        raise Fatal(f"{path} is no file")
    history.label = plan.columns.label or "label"
    rows = RowPlan(path.name, kind, stream, "backtest", history.label)
    at_s = _BEGIN_S + begin
    with path.open("rb") as file:
        for row in read_rows(file, form, rows):
            if row.error is not None:
                history.refuse(Problem(path.name, row.line, row.error.field, str(row.error)))
                continue
            own_s = _time_of(row.event)
            history.timed |= own_s is not None
            at_s = at_s + 1.0 if own_s is None else own_s
            yield Recorded(path.name, row.line, row.event, row.label, at_s)


def _time_of(event: bytes) -> float | None:
    """Return the time that an event gives itself, if it gives one that can be read."""
    time = msgspec.json.decode(event).get("time")
    with suppress(ValueError, OverflowError):
        return parse(time).timestamp() if isinstance(time, str) else None
    return None
