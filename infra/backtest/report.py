"""The HTML report: consumes an outcome, produces one self-contained page with its plots as inline SVG."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from infra.backtest import charts
from infra.backtest.explained import details
from infra.backtest.moved import SPAN, Moved, moments, moved
from infra.backtest.outcome import Outcome
from infra.backtest.watch import Alert
from infra.page import document
from streams.alerts.page.document import style as explanation_style

_STYLE: Final = Path(__file__).with_name("report.css")
_MOST_LINES: Final = 60
_ENOUGH: Final = 0.2


def write(outcome: Outcome, path: Path) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(outcome), encoding="utf-8")


def page(outcome: Outcome) -> str:
    """Return the page."""
    figures = outcome.figures()
    sections = [
        _head(outcome, figures),
        _cards(outcome, figures),
        _accuracy(outcome, figures),
        _drift(outcome),
        _learnt(figures),
        _moves(outcome),
        _classes(figures),
        _input(outcome, figures),
    ]
    body = "\n".join(section for section in sections if section)
    style = _STYLE.read_text(encoding="utf-8") + explanation_style()
    return document(f"Backtest of {_name(outcome)}", body, style)


def _name(outcome: Outcome) -> str:
    return " + ".join(path.name for path in outcome.plan.files)


def _head(outcome: Outcome, figures: dict[str, Any]) -> str:
    plan = outcome.plan
    told = [
        f"{figures['rows']:,} rows",
        f"model {outcome.model}",
        *([f"detector {plan.errors_detector}"] if plan.detector or not plan.stream else []),
        _when(outcome),
        f"seed {plan.seed}",
    ]
    good, says = _verdict(outcome, figures)
    return (
        f"<header><h1>Backtest of {escape(_name(outcome))}</h1>"
        f'<p class="verdict {"good" if good else "bad"}">{escape(says)}</p>'
        f'<p class="dim">{escape(" · ".join(told))}</p></header>'
    )


def _when(outcome: Outcome) -> str:
    plan = outcome.plan
    delay = f"{plan.delay.seconds:g} s later" if plan.delay.seconds else f"{plan.delay.rows} rows later"
    share = "every label" if plan.label_rate >= 1.0 else f"{plan.label_rate:.0%} of the labels"
    return f"{share} {'at once' if plan.delay.none else delay}"


def _verdict(outcome: Outcome, figures: dict[str, Any]) -> tuple[bool, str]:
    """Say in a sentence whether it was worth it."""
    if outcome.model == "none":
        return True, f"{len(figures['alerts'])} alarms on the error bits of this history."
    own = figures["accuracy"] or 0.0
    others = {name: value for name, value in figures["baselines"].items() if value is not None}
    ahead = [name for name, value in others.items() if value >= own]
    parts = ", ".join(f"{name.replace('_', ' ')} {value:.1%}" for name, value in others.items())
    if not ahead:
        return True, f"Drift handling was right on {own:.1%} of the rows, more than every baseline: {parts}."
    named = " and ".join(ahead).replace("_", " ")
    return False, (
        f"Drift handling was right on {own:.1%} of the rows; {named} did as well or better: {parts}."
    )


def _cards(outcome: Outcome, figures: dict[str, Any]) -> str:
    drifts, kappa = figures["drifts"], figures["kappa_temporal"]
    cards = [
        (_share(figures["accuracy"]), "accuracy", "each row before its label"),
        (_share(figures["f1_macro"]), "macro F1", f"{len(figures['by_class'])} labels"),
        ("–" if kappa is None else f"{kappa:.3f}", "kappa-temporal", "above 0: better than no change"),
        (f"{figures['labels_used']:,}", "labels used", f"{figures['judged']:,} rows judged"),
        (str(len(figures["alerts"])), "alerts", _kinds(outcome)),
        (
            f"{drifts['found']} / {drifts['given']}" if drifts["given"] else "–",
            "true drifts found",
            f"by errors; false alarms: {drifts['false']}" if drifts["given"] else "none given",
        ),
        (
            "–" if drifts["mean_delay"] is None else f"{drifts['mean_delay']:.0f} rows",
            "mean delay",
            "from drift to alarm",
        ),
        (f"{figures['seconds'].get('total', 0.0):.1f} s", "took", "baselines included"),
    ]
    inner = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span>'
        f"<small>{escape(note)}</small></div>"
        for value, name, note in cards
    )
    return f'<section class="cards">{inner}</section>'


def _kinds(outcome: Outcome) -> str:
    counts = Counter(alert.kind for alert in outcome.alerts)
    return ", ".join(f"{count} on {kind}" for kind, count in counts.items())


def _accuracy(outcome: Outcome, figures: dict[str, Any]) -> str:
    lines = {"model": _points(outcome.track.windows())}
    lines |= {name.replace("_", " "): _points(t.windows()) for name, t in outcome.baselines.items()}
    lines = {name: points for name, points in lines.items() if points}
    if "model" not in lines:
        return ""
    marks = {
        "true drift": list(outcome.plan.drifts),
        "alert": _rows_of(outcome, errors=True),
        "input alert": _rows_of(outcome, errors=False),
        "release": [release["row"] for release in figures["releases"]][:_MOST_LINES],
        "rollback": [back["row"] for back in figures["rollbacks"]][:_MOST_LINES],
    }
    if outcome.plan.reset_on_alarm:
        marks["release"] = []  # each lies on its alert
    marks = {name: rows for name, rows in marks.items() if rows}
    about = f"Each row is answered before its label is known; windows of {outcome.window:,} rows."
    plot = charts.accuracy_chart(lines, marks, figures["rows"])
    return f"<section><h2>Accuracy over time</h2><p>{about}</p>{plot}</section>"


def _rows_of(outcome: Outcome, *, errors: bool) -> list[int]:
    found = [alert.row for alert in outcome.alerts if (alert.kind == "error") == errors]
    return found[:_MOST_LINES]


def _points(windows: Sequence[tuple[int, int, Any]]) -> list[tuple[float, float]]:
    """Return the accuracy in the middle of each window; of one with few rows it says nothing."""
    most = max((part.count for *_, part in windows), default=0)
    return [
        (first + min(end - first, part.count) / 2, part.accuracy)
        for first, end, part in windows
        if part.accuracy is not None and part.count >= _ENOUGH * most
    ]


def _drift(outcome: Outcome) -> str:
    rows = [
        [f"{alert.row:,}", alert.kind, alert.detector, _matched(outcome, alert), alert.message]
        for alert in outcome.alerts[:_MOST_LINES]
    ]
    missed = outcome.matched["error"].missed if outcome.matched else []
    rows += [[f"{drift:,}", "error", "", "missed: no alarm within the tolerance", ""] for drift in missed]
    if not rows:
        return "<section><h2>Alerts</h2><p>There was none: nothing got worse than it had been.</p></section>"
    head = ["row", "signal", "detector", "true drift" if outcome.matched else "", "says"]
    more = len(outcome.alerts) - _MOST_LINES
    note = f"<p>… and {more} more; the figures have them all.</p>" if more > 0 else ""
    blocks = "".join(details(outcome.history, alert) for alert in outcome.alerts[:_MOST_LINES])
    about = "<p>What each of them knew, as an alert's page shows it:</p>" if blocks else ""
    return f"<section><h2>Alerts</h2>{_table(head, rows)}{note}{about}{blocks}</section>"


def _matched(outcome: Outcome, alert: Alert) -> str:
    """Say which true drift an alert has found."""
    if not outcome.matched:
        return ""
    delays = outcome.matched[alert.kind].delays
    hit = next((drift for drift, delay in delays.items() if drift + delay == alert.row), None)
    return "none: a false alarm" if hit is None else f"at {hit:,}, {alert.row - hit} rows before"


def _learnt(figures: dict[str, Any]) -> str:
    steps = [
        (entry["row"], name, entry)
        for name in ("trainings", "waits", "releases", "rejections", "rollbacks")
        for entry in figures[name]
    ]
    rows = [
        [
            f"{row:,}",
            name.removesuffix("s"),
            f"v{entry['version']}" if entry.get("version") else "–",
            _told(entry),
        ]
        for row, name, entry in sorted(steps, key=lambda step: step[0])
    ]
    if not rows:
        return ""
    return (
        "<section><h2>Trainings and releases</h2>"
        "<p>An alarm asks for a training; what comes of it takes over where a paired test says so.</p>"
        f"{_table(['row', 'what', 'version', 'figures'], rows[:_MOST_LINES])}</section>"
    )


def _told(entry: Mapping[str, Any]) -> str:
    """Say what is known of a step; its reasons as they are, the rest by name."""
    known = {name: value for name, value in entry.items() if name not in ("row", "version", "reasons")}
    parts = [f"{name} {value}" for name, value in known.items() if value not in ("", None)]
    return " · ".join([*entry.get("reasons", ()), *parts])


def _moves(outcome: Outcome) -> str:
    alarms = [alert.row for alert in outcome.alerts]
    parts = []
    for row in moments(outcome.history, alarms, outcome.plan.drifts):
        found = moved(outcome.history, row)
        plots = "".join(
            f"<div><h3>{escape(feature.name)} <small>{_psi(feature)}</small></h3>"
            f"{charts.moved_chart(feature)}</div>"
            for feature in found[:4]
        )
        if plots:
            parts.append(f"<h2>What moved at row {row:,}</h2>")
            about = _about(found, row, len(outcome.history.rows))
            parts.append(f'<p>{about}</p><div class="two">{plots}</div>')
    return f"<section>{''.join(parts)}</section>" if parts else ""


def _about(found: Sequence[Moved], row: int, rows: int) -> str:
    before, after = min(SPAN, row), min(SPAN, rows - row)
    span = f"The {before:,} rows before beside the {after:,} from there on"
    if any(feature.much for feature in found):
        return f"{span}; what moved most."
    return f"{span}. No single feature moved much: if anything changed, it is how the label hangs on them."


def _psi(feature: Moved) -> str:
    return f"PSI {feature.psi:.3g}"


def _classes(figures: dict[str, Any]) -> str:
    rows = [
        [name, f"{part['rows']:,}", *(f"{part[key]:.1%}" for key in ("precision", "recall", "f1"))]
        for name, part in sorted(figures["by_class"].items(), key=lambda item: -item[1]["rows"])
    ]
    if len(rows) < 2 or figures["model"] == "none":
        return ""
    head = ["label", "rows", "precision", "recall", "F1"]
    return f"<section><h2>By label</h2>{_table(head, rows[:_MOST_LINES])}</section>"


def _input(outcome: Outcome, figures: dict[str, Any]) -> str:
    rows = [
        [file["file"], f"{file['from']:,}", f"{file['rows']:,}", _share(file["accuracy"])]
        for file in figures["by_file"]
    ]
    table = _table(["file", "from row", "judged", "accuracy"], rows) if len(rows) > 1 else ""
    problems = "".join(f"<li>{escape(str(problem))}</li>" for problem in outcome.history.problems[:10])
    bad = f"<p>{outcome.history.bad:,} lines were left out.</p><ul>{problems}</ul>" if problems else ""
    parts = (f"{name.replace('_', ' ')} {value:.1f} s" for name, value in figures["seconds"].items())
    cost = f"<p>Seconds: {escape(' · '.join(parts))}.</p>" if figures["seconds"] else ""
    return f"<section><h2>Input and cost</h2>{table}{bad}{cost}</section>"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div>'
