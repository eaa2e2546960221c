"""What a history is made of: rows in the order of event time, and what could not be read."""

from dataclasses import dataclass, field
from typing import Final

Value = float | str

KEPT_PROBLEMS: Final = 1000
"""Bad lines that are described; all are counted."""


@dataclass(frozen=True, slots=True)
class Row:
    """One event that happened. `label` is empty where the file has none; `at_s` is its event time.

    Without a time column the row's number stands for its time. `values` lacks what is missing. `wrong` is the
    error bit of a file that has a column of them.
    """

    number: int
    at_s: float
    values: dict[str, Value]
    label: str = ""
    text: str = ""
    wrong: bool | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that cannot be used: it is counted and left out, and the rest goes on."""

    file: str
    line: int
    column: str
    message: str

    def __str__(self) -> str:
        where = f" column {self.column!r}" if self.column else ""
        return f"{self.file} line {self.line}{where}: {self.message}"


@dataclass
class History:
    """All rows, the names of their columns, and where each file begins.

    `timed` tells that the rows have a time of their own; `disordered` counts those that came before their
    predecessor and were sorted in (files that were mixed by that have no beginning any more).
    """

    rows: list[Row] = field(default_factory=list)
    features: tuple[str, ...] = ()
    label: str = ""
    text: tuple[str, ...] = ()
    files: list[tuple[str, int]] = field(default_factory=list)
    timed: bool = False
    disordered: int = 0
    bad: int = 0
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, problem: Problem) -> None:
        """Count a bad line."""
        self.bad += 1
        if len(self.problems) < KEPT_PROBLEMS:
            self.problems.append(problem)
