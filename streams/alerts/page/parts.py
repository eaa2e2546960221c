"""What drifted, as HTML: consumes an explanation, produces the sections that pages show."""

from collections.abc import Sequence
from typing import Final

from streams.alerts.explanation import Explanation, Feature, Pair, Tested
from streams.alerts.page import plots
from streams.alerts.page.text import html, number, percent

TESTS: Final = {
    "psi": "PSI",
    "ks": "Kolmogorov-Smirnov",
    "wasserstein": "Wasserstein",
    "chi_squared": "Cohen's w",
    "chi2": "χ²",
    "jensen_shannon": "Jensen-Shannon",
    "mmd": "squared MMD",
}
_DRAWN: Final = 6
_SHOWN_TOKENS: Final = 20


def parts(found: Explanation) -> str:
    """Return everything that an explanation says, what matters most first; nothing for nothing."""
    sections = (
        _change(found),
        _classes(found),
        _features(found.features),
        _histograms(found.features),
        _tokens(found.tokens),
        _joint(found),
        _metric(found),
        _details(found),
        _sources(found),
        _examples(found),
    )
    body = "\n".join(section for section in sections if section)
    return f'<div class="explained">{body}</div>' if body else ""


def _section(title: str, about: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{f'<p>{about}</p>' if about else ''}{body}</section>"


def _change(found: Explanation) -> str:
    if found.change is None or found.classes:
        return ""
    learnt = found.calibrated_with
    about = (
        f"Estimated from scores that {learnt:,} labels calibrated; no label has said it yet."
        if learnt
        else ""
    )
    return _section("Before and after", about, plots.LEGEND + plots.pairs([found.change]))


def _classes(found: Explanation) -> str:
    """Show the errors of each class beside those of all, which stand for what a class had before."""
    if not found.classes:
        return ""
    rows = list(found.classes)
    if found.change is not None:
        before = found.change.before
        rows = [
            row if row.before is not None else Pair(row.name, before, row.after, row.note) for row in rows
        ]
        rows.insert(0, Pair("all classes", before, found.change.after))
    about = "Share of wrong answers by the true class, those with the most errors first."
    if found.change is not None and any(row.before is None for row in found.classes):
        about += " Before: all classes together."
    return _section("Errors by class", about, plots.LEGEND + plots.pairs(rows))


def _features(features: Sequence[Feature]) -> str:
    if not features:
        return ""
    rows = "".join(
        f'<tr><td class="rank">{rank}</td><td><code>{html(f.name, 60)}</code></td>'
        f'<td class="nowrap">{change(f)}</td>'
        f'<td class="nowrap">{plots.share_bar(f.contribution)} {f.contribution:.0%}</td>'
        f'<td class="tests">{" ".join(_tested(test) for test in f.tests)}</td></tr>'
        for rank, f in enumerate(features, start=1)
    )
    head = "".join(
        f"<th>{name}</th>" for name in ("", "feature", "before → after", "of the shift", "tests (threshold)")
    )
    table = f'<table class="moved"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return _section("What moved", "Furthest over its threshold first.", f'<div class="scroll">{table}</div>')


def change(feature: Feature) -> str:
    """Return how a feature went: its mean, or its most changed class."""
    found = feature.histogram
    if found is not None and not found.numeric:
        at = found.most
        name = html(found.bins[at], 40)
        return f"<code>{name}</code> {percent(found.before[at])} → {percent(found.after[at])}"
    if feature.before is None and feature.after is None:
        return "–"
    return f"{number(feature.before)} → {number(feature.after)}"


def _tested(test: Tested) -> str:
    name = TESTS.get(test.name) or html(test.name, 30)
    told = f"{name} {number(test.statistic)}"
    if test.threshold is None:
        return f'<span class="dim">{told}</span>'
    told += f" ({number(test.threshold)})"
    return f"<b>{told}</b>" if test.over >= 1.0 else f'<span class="dim">{told}</span>'


def _histograms(features: Sequence[Feature]) -> str:
    drawn = "".join(plots.histogram(feature) for feature in features[:_DRAWN])
    if not drawn:
        return ""
    about = "Share of the events by bin; right of the last border lies what was never seen before."
    if all(f.histogram is None or not f.histogram.numeric for f in features):
        about = "Share of the events by class."
    return _section("Distributions", about, f'{plots.LEGEND}<div class="plots">{drawn}</div>')


def _tokens(tokens: Sequence[Pair]) -> str:
    if not tokens:
        return ""
    about = "Share of the events that contain a token, in the reference and now, most changed first."
    return _section("Tokens", about, plots.LEGEND + plots.pairs(tokens[:_SHOWN_TOKENS]))


def _joint(found: Explanation) -> str:
    if found.joint is None:
        return ""
    joint = found.joint
    told = f"Statistic <b>{number(joint.statistic)}</b>"
    if joint.threshold is not None:
        told += f", threshold {number(joint.threshold)}"
    about = "One test over all features at once, which also sees how they hang together."
    if joint.expected_run_time is not None:
        about += f" Steady events pass it about once in {joint.expected_run_time:,.0f}."
    bar = plots.gauge(joint.statistic, joint.threshold) if joint.threshold is not None else ""
    return _section("All features together", about, f"<p class='plain'>{told}</p>{bar}")


def _metric(found: Explanation) -> str:
    if found.metric is None:
        return ""
    metric = found.metric
    about = (
        f"<code>{html(metric.reading, 60)}</code> of <code>{html(metric.source, 80)}</code>: "
        f"<b>{number(metric.value)}</b>, beside the {len(metric.before):,} readings before it."
    )
    return _section("The reading", about, plots.course(metric.before, metric.value))


def _details(found: Explanation) -> str:
    if not found.details:
        return ""
    return _section("Which ones", "How many events, by reason or field.", plots.counts(found.details))


def _sources(found: Explanation) -> str:
    if not found.sources:
        return ""
    rows = "".join(
        f"<tr><td><code>{html(source)}</code></td><td>{html(last)}</td></tr>"
        for source, last in found.sources
    )
    table = f"<table><thead><tr><th>source</th><th>last event</th></tr></thead><tbody>{rows}</tbody></table>"
    return _section("Silent sources", "The longest silent first.", f'<div class="scroll">{table}</div>')


def _examples(found: Explanation) -> str:
    if not found.examples and not found.first:
        return ""
    first = f"It began at <code>{html(found.first)}</code>." if found.first else ""
    if not found.examples:
        return _section("Where it began", first, "")
    names = list(dict.fromkeys(name for example in found.examples for name in example))[:6]
    head = "".join(f"<th>{html(name, 40)}</th>" for name in names)
    rows = "".join(
        "<tr>" + "".join(f"<td><code>{html(example.get(name, ''))}</code></td>" for name in names) + "</tr>"
        for example in found.examples[:10]
    )
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return _section("Examples", first, f'<div class="scroll">{table}</div>')
