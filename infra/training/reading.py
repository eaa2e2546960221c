"""Files as examples: consumes a table and which column is what, produces one example a row, or what is wrong.

A row that cannot be learnt from is named by file, line and column. Unless bad rows may be left out, the
first of them end the reading: a model that learnt from half a file should be no surprise.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite, nan
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from infra.backtest.columns import BadCell
from infra.backtest.row import Problem
from infra.backtest.tables import Cell, Table, is_number, missing, open_table
from schemas.errors import Fatal
from trainers.tasks.examples import Example, Question, Readings, Tagged, Text
from trainers.tasks.kinds import SENSORS, Kind

ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "text": ("text", "sentence", "utterance", "content", "message", "payload"),
    "label": ("label", "intent", "class", "category", "target", "kind"),
    "words": ("words", "tokens"),
    "tags": ("tags", "ner_tags", "labels", "pos_tags"),
    "question": ("question",),
    "context": ("context", "passage"),
    "answer": ("answer", "answers.text"),
    "start": ("start", "answer_start", "answers.answer_start"),
    "target": ("target", "value", "y"),
}
"""What a column can be, and the names by which it is known without being told."""

_NEEDED: Final = {
    Kind.CLASSIFICATION: ("text", "label"),
    Kind.TOKENS: ("words", "tags"),
    Kind.QA: ("question", "context", "answer"),
    Kind.MLM: ("text",),
    Kind.CLM: ("text",),
    Kind.CLUSTERING: ("text",),
    Kind.SENSOR_CLASSIFICATION: ("label",),
    Kind.REGRESSION: ("target",),
    Kind.FORECAST: ("target",),
    Kind.ANOMALY: (),
}
_ASKED: Final = {
    Kind.CLASSIFICATION: ("text",),
    Kind.TOKENS: ("words",),
    Kind.QA: ("question", "context"),
    Kind.MLM: ("text",),
    Kind.CLM: ("text",),
    Kind.CLUSTERING: ("text",),
}
"""What an answer is made from; for readings the features that the model knows."""

_TAKEN: Final = {Kind.QA: ("start",), Kind.CLUSTERING: ("label",), Kind.ANOMALY: ("label",)}
_SHOWN: Final = 5


class Read(NamedTuple):
    """What a file holds: examples, the names of their readings, and the lines that were left out."""

    examples: list[Example]
    features: tuple[str, ...]
    problems: list[Problem]


def read(
    path: Path,
    kind: Kind,
    columns: Mapping[str, str],
    *,
    skip_bad: bool = False,
    features: Sequence[str] = (),
    answered: bool = True,
) -> Read:
    """Read a file for a task; `columns` says which column a role has, `features` which readings count.

    With `answered` rows must have what is to be learnt; without it, only what an answer is made from.

    Raises:
        Fatal: the file is no table, a column is missing, or rows are bad and may not be left out.
    """
    table = open_table(path)
    needed = _NEEDED[kind] if answered else _ASKED.get(kind, ())
    places = _places(table, kind, columns, needed)
    names = _features(table, kind, places, features) if kind in SENSORS else ()
    make = _maker(table, kind, places, names, needed)
    examples: list[Example] = []
    problems: list[Problem] = []
    for line in table.lines:
        if line.problem:
            problems.append(Problem(path.name, line.number, "", line.problem))
            continue
        try:
            examples.append(make(line.cells))
        except BadCell as error:
            problems.append(Problem(path.name, line.number, error.column, str(error)))
    if problems and not skip_bad:
        told = "; ".join(map(str, problems[:_SHOWN]))
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise Fatal(f"{told}{more}. Mend them, or leave such rows out with --skip-bad")
    if not examples:
        raise Fatal(f"{path} holds no row to {'learn from' if answered else 'answer'}")
    return Read(examples, names, problems)


def _places(
    table: Table, kind: Kind, columns: Mapping[str, str], needed: Sequence[str]
) -> dict[str, int]:  # fmt: skip
    """Return where each role's column is.

    Raises:
        Fatal: a needed one is not there, or a name that was given is not.
    """
    wanted = dict.fromkeys((*_NEEDED[kind], *_TAKEN.get(kind, ())))
    for role in columns:
        if role not in wanted:
            raise Fatal(f"--column {role}=…: {kind} has no such role; it has: {', '.join(wanted) or 'none'}")
    places = {}
    known = ", ".join(table.names[:20]) + (", …" if len(table.names) > 20 else "")
    for role in wanted:
        named = columns.get(role)
        found = [name for name in ([named] if named else ROLES[role]) if name in table.names]
        if found:
            places[role] = table.names.index(found[0])
        elif named:
            raise Fatal(f"{table.path} has no column {named!r}; it has: {known}")
        elif role in needed:
            raise Fatal(
                f"{table.path} has no column for the {role}; say which with --column {role}=NAME, of: {known}"
            )
    return places


def _features(table: Table, kind: Kind, places: Mapping[str, int], asked: Sequence[str]) -> tuple[str, ...]:
    absent = [name for name in asked if name not in table.names]
    if absent:
        raise Fatal(f"{table.path} has no column {absent[0]!r}; it has: {', '.join(table.names[:20])}")
    # A regression must not be told what it is to find; a forecast may know the past of its target.
    hidden = ("label",) if kind is Kind.FORECAST else ("label", "target")
    taken = {table.names[places[role]] for role in hidden if role in places}
    names = tuple(asked) or tuple(name for name in table.names if name not in taken)
    if not names:
        raise Fatal(f"{table.path} has no column of readings")
    return names


def _maker(
    table: Table, kind: Kind, places: Mapping[str, int], features: Sequence[str], needed: Sequence[str]
) -> Callable[[Sequence[Cell]], Example]:
    def needs(role: str) -> bool:
        return role in needed

    def cell(cells: Sequence[Cell], role: str) -> str:
        found = cells[places[role]]
        if missing(found) or not str(found).strip():
            raise BadCell(table.names[places[role]], f"there is no {role}")
        return f"{found:.0f}" if isinstance(found, float) and found.is_integer() else str(found)

    def optional(cells: Sequence[Cell], role: str) -> str:
        return cell(cells, role) if role in places and not missing(cells[places[role]]) else ""

    def text(cells: Sequence[Cell]) -> Example:
        label = cell(cells, "label") if needs("label") else optional(cells, "label")
        return Text(cell(cells, "text"), label)

    def tagged(cells: Sequence[Cell]) -> Example:
        words, tags = parts(cell(cells, "words")), parts(optional(cells, "tags"))
        if not needs("tags"):
            return Tagged(words, ("",) * len(words))
        if len(words) != len(tags):
            raise BadCell(table.names[places["tags"]], f"{len(tags)} tags for {len(words)} words")
        return Tagged(words, tags)

    def question(cells: Sequence[Cell]) -> Example:
        context = cell(cells, "context")
        if not needs("answer"):
            return Question(cell(cells, "question"), context, "", 0)
        answer = first(cell(cells, "answer"))
        told = first(optional(cells, "start"))
        start = int(float(told)) if is_number(told) else context.find(answer)
        if start < 0 or context[start : start + len(answer)] != answer:
            raise BadCell(table.names[places["answer"]], f"{answer[:40]!r} is not in the context there")
        return Question(cell(cells, "question"), context, answer, start)

    used = [table.names.index(name) for name in features]

    def readings(cells: Sequence[Cell]) -> Example:
        values = tuple(number(table.names[place], cells[place], may_miss=True) for place in used)
        target = 0.0
        if needs("target"):
            target = number(table.names[places["target"]], cells[places["target"]], may_miss=False)
        label = cell(cells, "label") if needs("label") else optional(cells, "label")
        return Readings(values, label, target)

    return {Kind.TOKENS: tagged, Kind.QA: question}.get(kind, readings if kind in SENSORS else text)


def number(column: str, found: Cell, *, may_miss: bool) -> float:
    """Return a cell as a finite number, NaN for a missing one that may be.

    Raises:
        BadCell: it is none.
    """
    if missing(found):
        if may_miss:
            return nan
        raise BadCell(column, "there is no number")
    try:
        value = float(found or "")
    except ValueError:
        raise BadCell(column, f"{str(found)[:40]!r} is no number") from None
    if not isfinite(value):
        raise BadCell(column, f"{value} is not finite")
    return value


def parts(text: str) -> tuple[str, ...]:
    """Return the items of a JSON list, or the words between spaces."""
    if text.startswith("["):
        return tuple(str(item) for item in _listed(text))
    return tuple(text.split())


def first(text: str) -> str:
    """Return the first item of a JSON list (SQuAD's form of answers), or the text itself."""
    return str(next(iter(_listed(text)), "")) if text.startswith("[") else text


def _listed(text: str) -> Iterator[Any]:
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        found = [text]
    yield from found if isinstance(found, list) else [found]
