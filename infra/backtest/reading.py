"""Reads recorded files: consumes paths and which column is what, produces the History in event-time order.

A bad line is counted, named by file, line and column, and left out; the rest goes on.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Final

from infra.backtest.columns import BadCell, Columns, resolve
from infra.backtest.plan import ColumnPlan
from infra.backtest.row import History, Problem, Row
from infra.backtest.tables import Cell, Line, Table, missing, open_table
from schemas.errors import Fatal
from schemas.event_time import parse

_SAMPLE: Final = 1000


def read(files: Sequence[Path], plan: ColumnPlan) -> History:
    """Read files in their order, or in that of their time column.

    Raises:
        Fatal: a file is missing or of no known format, a column is not there, or not one row is good.
    """
    history = History(timed=bool(plan.time))
    first: Columns | None = None
    for path in files:
        table = open_table(path, header=plan.header)
        ahead = list(islice(table.lines, _SAMPLE))
        sample = [line.cells for line in ahead if not line.problem]
        if not sample:
            raise Fatal(f"{path} holds no row that can be read" + (f": {ahead[0].problem}" if ahead else ""))
        if first is None:
            first = resolve(table, sample, plan)
        elif table.names != first.names:
            raise Fatal(f"{path} has other columns than {files[0]}: files of one history have the same")
        history.files.append((path.name, len(history.rows)))
        _take(history, table, first, chain(ahead, table.lines))
    if first is None or not history.rows:
        why = f"; the first problem: {history.problems[0]}" if history.problems else ""
        raise Fatal(f"there is nothing to replay in {', '.join(map(str, files))}{why}")
    history.features, history.text = first.features, tuple(first.names[at] for at in first.text)
    history.label = "" if first.label is None else first.names[first.label]
    if history.timed:
        _in_time(history)
    return history


def _take(history: History, table: Table, columns: Columns, lines: Iterator[Line]) -> None:
    """Append a table's good lines."""
    now = datetime.now(UTC)
    for line in lines:
        if line.problem:
            history.refuse(Problem(table.path.name, line.number, "", line.problem))
            continue
        try:
            history.rows.append(_row(len(history.rows), line.cells, columns, now))
        except BadCell as error:
            history.refuse(Problem(table.path.name, line.number, error.column, str(error)))


def _row(number: int, cells: Sequence[Cell], columns: Columns, now: datetime) -> Row:
    return Row(
        number=number,
        at_s=float(number) if columns.time is None else seconds_of(cells, columns, now),
        values=columns.values(cells),
        label=columns.truth(cells),
        text=columns.prose(cells),
        wrong=columns.error(cells),
    )


def seconds_of(cells: Sequence[Cell], columns: Columns, now: datetime) -> float:
    """Return a line's event time: ISO 8601 and its kin, or seconds, milli-, micro- or nanoseconds.

    Raises:
        BadCell: it is missing, or no time.
    """
    name, cell = columns.names[columns.time or 0], cells[columns.time or 0]
    if missing(cell):
        raise BadCell(name, "there is no time")
    text = f"{cell:.0f}" if isinstance(cell, float) and cell.is_integer() else str(cell)
    with suppress(ValueError, OverflowError):
        return parse(text, now).timestamp()
    try:
        return float(text)  # an index that grows is a clock too
    except ValueError:
        raise BadCell(name, f"{text[:40]!r} is no time; ISO 8601 or seconds are understood") from None


def _in_time(history: History) -> None:
    """Sort by time, keeping the order of equal times, and number the rows anew."""
    rows = history.rows
    history.disordered = sum(later.at_s < earlier.at_s for earlier, later in pairwise(rows))
    if history.disordered:
        ordered = sorted(rows, key=lambda row: row.at_s)
        history.rows = [
            Row(number, row.at_s, row.values, row.label, row.text, row.wrong)
            for number, row in enumerate(ordered)
        ]
        history.files = history.files[:1] if len(history.files) == 1 else []
