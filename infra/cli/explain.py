"""An alert in the terminal: consumes the alert and how it ended, produces what rich prints of it.

The same explanation as the alert's page has. Whatever comes from events is printed as plain text: it neither
steers the terminal nor is read as rich's markup.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from schemas.drift import DriftAlert
from streams.alerts.explanation import Explanation, Feature, Histogram, Over, Pair, explain
from streams.alerts.page.document import headline, measured, next_step, state
from streams.alerts.page.parts import TESTS
from streams.alerts.page.text import duration, moment, number, percent, shown

_COLOURS: Final = {"critical": "bold white on red", "warning": "bold black on yellow", "over": "bold green"}
_BAR: Final = 24
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_DRAWN: Final = 3
_MOST_BINS: Final = 14


def explained(alert: DriftAlert, over: Over | None) -> RenderableType:
    """Return everything that is known of an alert, what matters most first."""
    found = explain(alert.evidence)
    return Group(*_head(alert, found, over), *_parts(found))


def _head(alert: DriftAlert, found: Explanation, over: Over | None) -> Iterator[RenderableType]:
    word = state(alert, over)
    model = f"{alert.model} v{alert.version}" if alert.version else alert.model or "none"
    yield Text.assemble(
        (f" {word.upper()} ", _COLOURS.get(word, "bold")), " ", (shown(headline(alert, found)), "bold")
    )
    yield Text(shown(alert.summary, 2000))
    if over is not None:
        yield Text(f"Over since {moment(over.at)}: {shown(over.why, 1000)}", "green")
    statistic, threshold = measured(alert)
    later = (alert.raised_at - alert.since).total_seconds()
    rows = {
        "now": next_step(alert) if over is None else "Nothing more: it is over.",
        "runbook": alert.runbook,
        "stream": f"{alert.stream}, model {model}",
        "signal": f"{alert.signal.value}, found by {alert.detector}",
        "statistic": f"{statistic} (threshold {threshold})",
        "began": moment(alert.since),
        "raised": moment(alert.raised_at) + (f", {duration(later)} later" if later >= 1 else ""),
        "began at": found.first,
        "cause": found.cause,
        "alert": alert.id,
    }
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in rows.items():
        if value:
            facts.add_row(Text(name, "dim"), Text(shown(value, 300)))
    yield facts


def _parts(found: Explanation) -> Iterator[RenderableType]:
    if found.classes:
        change = found.change
        rows = [Pair("all classes", change.before, change.after)] if change else []
        yield from _titled("errors by class", _pairs([*rows, *found.classes]))
    elif found.change is not None:
        yield from _titled("before and after", _pairs([found.change]))
    if found.features:
        yield from _titled("what moved", _features(found.features))
    for feature in found.features[:_DRAWN]:
        if feature.histogram is not None:
            yield from _titled(f"{feature.name}, before and after", _histogram(feature.histogram))
    if found.tokens:
        yield from _titled("tokens", _pairs(found.tokens))
    if found.joint is not None:
        told = f"{number(found.joint.statistic)} (threshold {number(found.joint.threshold)})"
        yield from _titled("all features together", Text(told))
    if found.metric is not None:
        metric = found.metric
        told = f"{shown(metric.reading, 60)} of {shown(metric.source, 80)}: {number(metric.value)}"
        if metric.before:
            told += f"; before it {number(min(metric.before))} to {number(max(metric.before))}"
        yield from _titled("the reading", Text(told))
    if found.details:
        yield from _titled("which ones", _counts(found.details))
    if found.sources:
        yield from _titled("silent sources", _columns(("source", "last event"), found.sources))
    if found.examples:
        names = list(dict.fromkeys(name for example in found.examples for name in example))
        cells = [[example.get(name, "") for name in names] for example in found.examples]
        yield from _titled("examples", _columns(names, cells))


def _titled(title: str, body: RenderableType) -> Iterator[RenderableType]:
    yield Text(f"\n{shown(title)}", "bold")
    yield body


def _features(features: Sequence[Feature]) -> Table:
    table = Table("", "feature", "before → after", "of the shift", "tests (threshold)", box=None)
    for rank, feature in enumerate(features, start=1):
        table.add_row(
            str(rank),
            Text(shown(feature.name, 40)),
            Text(_change(feature)),
            Text.assemble(_bar(feature.contribution, 1.0, 10, "blue"), f" {feature.contribution:.0%}"),
            Text(", ".join(_tests(feature))),
        )
    return table


def _change(feature: Feature) -> str:
    found = feature.histogram
    if found is not None and not found.numeric:
        at = found.most
        return f"{shown(found.bins[at], 30)} {percent(found.before[at])} → {percent(found.after[at])}"
    return f"{number(feature.before)} → {number(feature.after)}"


def _tests(feature: Feature) -> Iterator[str]:
    for test in feature.tests:
        threshold = "" if test.threshold is None else f" ({number(test.threshold)})"
        yield f"{TESTS.get(test.name, shown(test.name, 30))} {number(test.statistic)}{threshold}"


def _histogram(found: Histogram) -> Table:
    by_change = sorted(range(len(found.bins)), key=lambda at: -abs(found.after[at] - found.before[at]))
    kept = found.only(sorted(by_change[:_MOST_BINS]))
    return _pairs([Pair(*row) for row in zip(kept.bins, kept.before, kept.after, strict=True)])


def _pairs(rows: Sequence[Pair]) -> Table:
    """Return shares as bars side by side; all have one scale."""
    most = max([0.01, *(max(row.before or 0.0, row.after) for row in rows)])
    table = Table("", "before", "", "after", "", "", box=None)
    for row in rows:
        table.add_row(
            Text(shown(row.name, 40)),
            _bar(row.before or 0.0, most, _BAR, "bright_black"),
            Text(percent(row.before), justify="right"),
            _bar(row.after, most, _BAR, "blue"),
            Text(percent(row.after), justify="right"),
            Text(shown(row.note), "dim"),
        )
    return table


def _counts(rows: Sequence[tuple[str, int]]) -> Table:
    most = max(count for _, count in rows)
    table = Table("", "events", "", box=None)
    for name, count in rows:
        table.add_row(Text(shown(name, 40)), _bar(count, max(1, most), _BAR, "blue"), f"{count:,}")
    return table


def _columns(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(*(Column(Text(shown(name, 40))) for name in names), box=None)
    for row in rows:
        table.add_row(*(Text(shown(cell, 80)) for cell in row))
    return table


def _bar(value: float, most: float, wide: int, colour: str) -> Text:
    """Return a bar to an eighth of a character; what is not nothing is seen."""
    eighths = round(8 * wide * max(0.0, min(1.0, value / most))) or (1 if value > 0 else 0)
    full, rest = divmod(eighths, 8)
    return Text(("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(wide), colour)
