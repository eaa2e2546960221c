"""An explanation in the terminal: consumes it, produces what rich prints of it.

Words of an event are printed as plain text: they neither steer the terminal nor are read as rich's markup.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from infra.explained.told import Told, facts, headline, most, numbered, ranked
from streams.alerts.page.text import shown
from trainers.explain.explanation import Explanation, Reason

_BAR: Final = 24
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_FOR: Final = "blue"
_AGAINST: Final = "dark_orange"
_SHADES: Final = (
    (0.6, {True: "bold white on blue", False: "bold black on dark_orange"}),
    (0.25, {True: "blue", False: "dark_orange"}),
    (0.0, {True: "default", False: "default"}),
)
"""How strong a word must be, of the strongest, to look so."""


def explained(found: Explanation, told: Told) -> RenderableType:
    """Return why a model answered as it did, what matters most first."""
    return Group(*_parts(found, told))


def _parts(found: Explanation, told: Told) -> Iterator[RenderableType]:
    yield Text(headline(found), "bold")
    if found.text:
        yield Text.assemble("\n", _text(found), "\n")
    yield _table(found)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, said in facts(found, told):
        table.add_row(Text(name, "dim"), Text(said))
    yield table
    for note in found.notes:
        yield Text(f"note: {shown(note, 400)}", "yellow")


def _text(found: Explanation) -> Text:
    """Return the text with each word in the colour of what it adds, dim where the model did not read on."""
    largest, line, at = most(found), Text(), 0
    for reason in found.reasons:
        line.append(shown(found.text[at : reason.begin], len(found.text)))
        strength = abs(reason.share) / largest
        style = next(styles for least, styles in _SHADES if strength >= least)[reason.share > 0]
        line.append(shown(found.text[reason.begin : reason.end], len(found.text)), style)
        at = reason.end
    line.append(shown(found.text[at : found.read], len(found.text)))
    line.append(shown(found.text[found.read :], len(found.text)), "dim strike")
    return line


def _table(found: Explanation) -> Table:
    readings = any(reason.usual is not None for reason in found.reasons)
    heads: Sequence[str | Column] = (
        "reading" if readings else "word",
        *((Column("value", justify="right"), Column("usually", justify="right")) if readings else ()),
        Column("adds", justify="right"),
        Column("against", justify="right"),
        "for it",
    )
    table, largest = Table(*heads, box=None), most(found)
    for reason in ranked(found):
        table.add_row(
            Text(shown(reason.name, 60)),
            *([Text(one) for one in numbered(reason)] if readings else []),
            f"{reason.share:+.3f}",
            _bar(reason, largest, against=True),
            _bar(reason, largest, against=False),
        )
    return table


def _bar(reason: Reason, largest: float, *, against: bool) -> Text:
    """Return a bar to an eighth of a character; to the left, where a character is whole or half."""
    if (reason.share < 0) is not against:
        return Text("")
    strength = abs(reason.share) / largest
    if against:
        halves = max(1, round(2 * _BAR * strength))
        full, half = divmod(halves, 2)
        return Text(("▐" if half else "") + "█" * full, _AGAINST)
    full, rest = divmod(max(1, round(8 * _BAR * strength)), 8)
    return Text("█" * full + (_EIGHTHS[rest] if rest else ""), _FOR)
