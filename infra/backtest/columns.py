"""What each column is: consumes names and a sample of lines, produces rows of numbers, categories and text.

The label is the column asked for, else the last. A column is of numbers when nine in ten of the sampled cells
are; of text when its cells are long and hardly one repeats; else its words are categories, hashed ones where
there are many.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final, Literal
from zlib import crc32

from infra.backtest.plan import ColumnPlan
from infra.backtest.row import Value
from infra.backtest.tables import Cell, Table, is_number, missing
from schemas.errors import Fatal

Kind = Literal["number", "category", "text"]

_NUMBERS: Final = 0.9
_DISTINCT: Final = 0.5
_TEXT_LENGTH: Final = 8.0
_CROWDED: Final = 50
_HASHED: Final = 32
_TRUE: Final = frozenset({"1", "1.0", "true", "yes", "wrong", "error"})
_FALSE: Final = frozenset({"0", "0.0", "false", "no", "right", "ok"})


class BadCell(ValueError):
    """A cell that is none of its column's kind."""

    def __init__(self, column: str, message: str) -> None:
        super().__init__(message)
        self.column = column


@dataclass
class Columns:
    """Where a line keeps what, as places in it. `label` is None where the file has no truth."""

    names: tuple[str, ...]
    label: int | None
    time: int | None
    errors: int | None
    text: tuple[int, ...]
    numbers: tuple[int, ...]
    categories: tuple[int, ...]
    crowded: frozenset[int] = frozenset()
    """Categories of so many words (ids, names) that these are hashed into a few dozen."""

    @property
    def features(self) -> tuple[str, ...]:
        """Return the names of what a tabular learner reads."""
        return tuple(self.names[at] for at in sorted((*self.numbers, *self.categories)))

    def values(self, cells: Sequence[Cell]) -> dict[str, Value]:
        """Return a line's readings by name; what is missing is left out. True and false are 1 and 0.

        Raises:
            BadCell: a number that is none, or is not finite.
        """
        found: dict[str, Value] = {}
        for at in self.numbers:
            cell = cells[at]
            if missing(cell):
                continue
            name = self.names[at]
            try:
                number = float(cell or 0.0)
            except ValueError:
                raise BadCell(name, f"{str(cell)[:40]!r} is no number") from None
            if not isfinite(number):
                raise BadCell(name, f"{str(cell)[:40]!r} is not finite")
            found[name] = number
        for at in self.categories:
            cell = cells[at]
            if not missing(cell):
                word = str(cell)
                if at in self.crowded:
                    word = f"#{crc32(word.encode(errors='replace')) % _HASHED}"
                found[self.names[at]] = _LOGICAL.get(word.lower(), word)
        return found

    def truth(self, cells: Sequence[Cell]) -> str:
        """Return a line's label, empty where it has none; whole numbers lose their `.0`."""
        if self.label is None or missing(cells[self.label]):
            return ""
        cell = cells[self.label]
        return f"{cell:g}" if isinstance(cell, float) else str(cell)

    def prose(self, cells: Sequence[Cell]) -> str:
        """Return a line's text; several columns of it are joined."""
        return " ".join(str(cells[at]) for at in self.text if cells[at] is not None)

    def error(self, cells: Sequence[Cell]) -> bool | None:
        """Return a line's error bit, None where there is no such column.

        Raises:
            BadCell: it is neither 0 or 1, nor true or false.
        """
        if self.errors is None:
            return None
        cell = str(cells[self.errors]).strip().lower()
        if cell in _TRUE or cell in _FALSE:
            return cell in _TRUE
        raise BadCell(self.names[self.errors], f"{cell[:40]!r} is no error bit: write 0 or 1")


_LOGICAL: Final[dict[str, float]] = {"true": 1.0, "false": 0.0}


def resolve(table: Table, sample: Sequence[Sequence[Cell]], plan: ColumnPlan) -> Columns:
    """Decide on a table's columns by the plan and a sample of its lines.

    Raises:
        Fatal: a column that the plan names is not there; the message lists those that are.
    """
    names = table.names
    drop = {_named(table, name, "--drop") for name in plan.drop}
    time = _named(table, plan.time, "--time") if plan.time else None
    errors = _named(table, plan.errors, "--errors") if plan.errors else None
    label = _label(table, plan, {*drop, time, errors})
    taken: set[int | None] = {*drop, time, errors, label}
    free = [at for at in range(len(names)) if at not in taken]
    text = tuple(_named(table, name, "--text") for name in plan.text)
    kinds = {at: _kind([cells[at] for cells in sample]) for at in free}
    if not text:
        text = tuple(at for at in free if kinds[at] == "text")
    rest = [at for at in free if at not in text]
    return Columns(
        names=names,
        label=label,
        time=time,
        errors=errors,
        text=text,
        numbers=tuple(at for at in rest if kinds[at] == "number"),
        categories=tuple(at for at in rest if kinds[at] == "category"),
        crowded=frozenset(at for at in rest if len({cells[at] for cells in sample}) > _CROWDED),
    )


def _label(table: Table, plan: ColumnPlan, taken: set[int | None]) -> int | None:
    if plan.label:
        return _named(table, plan.label, "--label")
    free = [at for at in range(len(table.names)) if at not in taken]
    if plan.errors:
        return None
    if not free:
        raise Fatal(f"{table.path} has no column left for the label")
    return free[-1]


def _named(table: Table, wanted: str, option: str) -> int:
    if wanted in table.names:
        return table.names.index(wanted)
    if wanted.lstrip("-").isdecimal() and -len(table.names) <= int(wanted) < len(table.names):
        return int(wanted) % len(table.names)
    known = ", ".join(table.names[:20]) + (", …" if len(table.names) > 20 else "")
    raise Fatal(f"{option}: {table.path} has no column {wanted!r}; it has: {known}")


def _kind(cells: Sequence[Cell]) -> Kind:
    known = [cell for cell in cells if not missing(cell)]
    if not known:
        return "number"
    if sum(map(is_number, known)) >= _NUMBERS * len(known):
        return "number"
    words = [str(cell) for cell in known]
    long = sum(map(len, words)) / len(words) >= _TEXT_LENGTH
    return "text" if long and len(set(words)) >= _DISTINCT * len(words) else "category"
