"""The HTML report: consumes a finished run, produces one self-contained page with its plots as inline SVG."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final

from infra.demo import charts
from infra.demo.figures import first_offsets
from infra.demo.series import by_class, per_second, rolling_accuracy
from infra.demo.snapshot import megabytes, percent
from infra.demo.story import Story
from infra.page import document

_PARTS: Final = ("before", "drifted", "after")
_STYLE: Final = Path(__file__).with_name("report.css")


def write(story: Story, path: Path) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(story), encoding="utf-8")


def page(story: Story) -> str:
    """Return the page."""
    sections = [_head(story), _cards(story), _accuracy(story), _drift(story), _flow(story)]
    sections += [_turned_away(story), _models(story), _lineage(story), _timeline(story)]
    body = "\n".join(section for section in sections if section)
    return document(story.title, body, _STYLE.read_text(encoding="utf-8"))


def _head(story: Story) -> str:
    good = not story.shortcomings
    verdict = "Everything was shown" if good else "Fell short"
    told = (
        "Every acknowledged event is in ClickHouse and in the predictions exactly once"
        + (", and the model is back in step with the traffic." if story.figures.moments.swap else ".")
        if good
        else " · ".join(story.shortcomings)
    )
    return (
        f"<header><h1>{escape(story.title)}</h1>"
        f'<p class="verdict {"good" if good else "bad"}"><b>{verdict}.</b> {escape(told)}</p>'
        f'<p class="dim">stream <code>{escape(story.figures.stream)}</code> · {story.rate:g} events/s · '
        f"seed {story.seed} · {story.figures.loop_s:.0f} s</p></header>"
    )


def _cards(story: Story) -> str:
    figures = story.figures
    told = figures.as_json()
    shares = {name: share.value for name, share in figures.accuracies().items()}
    seconds = told["seconds"]
    cards = [
        (f"{told['accepted']:,}", "events accepted", f"{told['sent']:,} messages sent"),
        (f"{told['lost']} / {told['doubled']}", "lost / doubled", "in ClickHouse and in predictions"),
        (" → ".join(percent(shares[part]) for part in _PARTS), "accuracy", "before → drifted → after"),
        (_seconds(seconds["drift_to_alert"]), "drift to alert", ""),
        (_seconds(seconds["alert_to_release"]), "alert to release", "labels, training, gate"),
        (_seconds(seconds["release_to_swap"]), "release to swap", "no answer was held up for it"),
        (_p95(story, "selectable"), "ingest → selectable, p95", "in ClickHouse"),
        (_p95(story, "prediction"), "ingest → prediction, p95", "read committed"),
        (megabytes(told["peak_rss_bytes"]), "memory at most", "all processes together"),
    ]
    inner = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span>'
        f"<small>{escape(note)}</small></div>"
        for value, name, note in cards
    )
    return f'<section class="cards">{inner}</section>'


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def _p95(story: Story, name: str) -> str:
    found = story.figures.latency()[name]
    return f"{found.p95:.0f} ms" if found else "–"


def _accuracy(story: Story) -> str:
    figures = story.figures
    points = rolling_accuracy(figures.ledger, figures.answers, story.began)
    if not points:
        return ""
    levels = {name: share.value for name, share in figures.accuracies().items()}
    table = by_class(figures.ledger, figures.answers, figures.learnt_versions)
    rows = [
        [label, *(_share(table[label].get(part)) for part in _PARTS)]
        for label in sorted(table, key=lambda name: -sum(total for _, total in table[name].values()))
    ][:20]
    return (
        "<section><h2>Accuracy over time</h2>"
        "<p>Each answer against its label, when it came; the share of the last 150 labelled events.</p>"
        f"{charts.accuracy_chart(points, story.marks(), levels)}"
        f"{_table(['class', *_PARTS], rows)}</section>"
    )


def _share(counted: tuple[int, int] | None) -> str:
    if counted is None or not counted[1]:
        return "–"
    right, total = counted
    return f"{right / total:.1%} of {total}"


def _drift(story: Story) -> str:
    levels = [(at - story.began, min(level.nearness, 10.0)) for at, level in story.drift_levels]
    alerts = [
        [
            f"{alert.raised_at.timestamp() - story.began:.1f} s",
            f"{alert.stream} v{alert.version}",
            alert.signal.value,
            alert.detector,
            f"{alert.statistic:.3g} / {alert.threshold:.3g}",
            alert.summary,
        ]
        for alert in story.alerts
    ]
    if not levels and not alerts:
        return ""
    plot = charts.drift_chart(levels, story.marks()) if levels else ""
    head = ["at", "model", "signal", "detector", "statistic / threshold", "says"]
    return (
        "<section><h2>Drift</h2><p>The watched signal nearest to its threshold.</p>"
        f"{plot}{_table(head, alerts)}<p>{story.webhook_posts} of them reached the webhook.</p></section>"
    )


def _flow(story: Story) -> str:
    figures = story.figures
    ledger = figures.ledger
    series = {
        "sent": per_second((sent.sent_at for sent in ledger.events.values()), story.began),
        "selectable": per_second(figures.selectable_at.values(), story.began),
        "answered": per_second((answer.received_at for answer in figures.answers.values()), story.began),
    }
    latencies = {
        "to ClickHouse": [(at - ledger.events[i].sent_at) * 1000 for i, at in figures.selectable_at.items()],
        "to prediction": [
            (a.received_at - ledger.events[i].sent_at) * 1000 for i, a in figures.answers.items()
        ],
    }
    latencies = {name: values for name, values in latencies.items() if values}
    rows = [
        [f"ingest → {name}", *(f"{value:.0f} ms" for value in (p.p50, p.p95, p.p99)), str(p.count)]
        for name, p in figures.latency().items()
        if p
    ]
    plot = charts.latency_chart(latencies) if latencies else ""
    return (
        "<section><h2>Throughput</h2>"
        f"{charts.rate_chart(series, story.marks())}</section>"
        f'<div class="two"><section><h2>Latency</h2>{plot}'
        f"{_table(['', 'p50', 'p95', 'p99', 'events'], rows)}</section>"
    )


def _turned_away(story: Story) -> str:
    figures = story.figures
    ledger = figures.ledger
    plot = charts.bar_chart(figures.rejected, {}) if figures.rejected else ""
    rows = [
        ["copies sent (retries)", f"{ledger.copies_sent:,}"],
        ["duplicates dropped", f"{figures.duplicates_dropped:,}"],
        ["refused by the gateway (4xx)", f"{ledger.rejected_http.total():,}"],
        ["turned away by cleaning (events.dead)", f"{figures.dead.total():,}"],
        ["bad input sent on purpose", f"{story.expected_rejections:,}"],
    ]
    return f"<section><h2>Turned away, by reason</h2>{plot}{_table(['', 'count'], rows)}</section></div>"


def _models(story: Story) -> str:
    rows = []
    for release in story.figures.releases:
        swap = next(
            (s for s in story.swaps if (s.model, s.version) == (release.model, release.version)), None
        )
        offsets = first_offsets(story.swaps, release).items()
        rows.append(
            [
                f"{release.model} v{release.version}",
                f"<code>{release.sha256[:16]}</code>",
                f"v{release.parent}" if release.parent is not None else "–",
                "<br>".join(f"<code>{escape(place)} @ {offset}</code>" for place, offset in offsets) or "–",
                f"{swap.load_ms:.0f} ms" if swap else "–",
                "<br>".join(
                    f"{escape(name)} {value:.4g}" for name, value in list(release.metrics.items())[:4]
                ),
            ]
        )
    head = ["model", "sha256", "parent", "first offsets answered", "loaded in", "measured by the gate"]
    return f"<section><h2>Models</h2>{_table(head, rows, raw=True)}</section>" if rows else ""


def _lineage(story: Story) -> str:
    if not story.lineage:
        return ""
    steps = "".join(
        f"<li><h3>{escape(step.title)}</h3><dl>"
        + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in step.facts)
        + "</dl></li>"
        for step in story.lineage
    )
    return (
        "<section><h2>Lineage of one prediction</h2>"
        "<p>From the request to the rows its model learnt from, each step read back from where it lies.</p>"
        f'<ol class="lineage">{steps}</ol></section>'
    )


def _timeline(story: Story) -> str:
    events = [
        (step.at.timestamp(), f"{step.model}: {step.previous} → {step.state}", step.message)
        for step in story.transitions
    ]
    events += [
        (
            swap.swapped_at.timestamp(),
            f"{swap.model}: v{swap.version} {swap.outcome}",
            f"{swap.worker}; {swap.message}",
        )
        for swap in story.swaps
    ]
    rows = [[f"{at - story.began:+.1f} s", what, note.strip("; ")] for at, what, note in sorted(events)]
    return f"<section><h2>The learning loops</h2>{_table(['at', 'what', ''], rows)}</section>" if rows else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, raw: bool = False) -> str:
    """Return a table; cells are escaped unless `raw`."""
    cells = list(rows)
    if not cells:
        return ""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell if raw else escape(cell)}</td>" for cell in row) + "</tr>"
        for row in cells
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
