"""The whole page of one alert: consumes the alert and how it ended, produces one HTML file on its own.

Made to be read at three in the morning: what happened and what to do stand above everything that proves it.
"""

from functools import cache
from pathlib import Path
from typing import Final

from schemas.drift import DriftAlert, Response, Signal
from streams.alerts.explanation import Explanation, Over, explain
from streams.alerts.page import plots
from streams.alerts.page.parts import parts
from streams.alerts.page.text import duration, html, moment, number, percent

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a browser lets the page do, whatever stands in it: be styled."""

_SHARES: Final = (Signal.ERROR, Signal.ESTIMATE, Signal.QUALITY)
_NEXT: Final = {
    Response.ALERT: "Headrace changes nothing by itself.",
    Response.INCREMENT: "Headrace collects labels and tunes the model by itself.",
    Response.RETRAIN: "Headrace retrains the model by itself.",
}
_UNITS: Final = {
    Signal.ERROR: "labels",
    Signal.PREDICTION: "answers",
    Signal.ESTIMATE: "answers",
    Signal.SILENCE: "sources",
    Signal.NOVELTY: "readings",
    Signal.ROLLBACK: "events",
}
_HEADLINES: Final = {
    Signal.INPUT: "What comes in has changed",
    Signal.PREDICTION: "The model's answers have changed",
    Signal.ERROR: "The model is wrong more often",
    Signal.ESTIMATE: "The model is less sure of its answers",
    Signal.QUALITY: "The quality of the events is worse",
    Signal.SILENCE: "Sources stopped sending",
    Signal.NOVELTY: "A reading is as it never was",
    Signal.ROLLBACK: "A release did worse than the one before it",
}


@cache
def style() -> str:
    """Return the rules by which an explanation looks as it does, for every page that has one."""
    return Path(__file__).with_name("explained.css").read_text(encoding="utf-8")


@cache
def _frame() -> str:
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def page(alert: DriftAlert, over: Over | None = None) -> str:
    """Return the page of an alert; everything that came from events is escaped."""
    found = explain(alert.evidence)
    body = "\n".join((_head(alert, found, over), _facts(alert, found, over), parts(found), _foot(alert)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">'
        f"<title>{html(_title(alert, over))}</title>"
        f"<style>{_frame()}{style()}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def headline(alert: DriftAlert, found: Explanation) -> str:
    """Return what happened, in a few words."""
    change = found.change
    if "test" in alert.evidence:
        return "A test: nothing is wrong"
    if change is None:
        return _HEADLINES.get(alert.signal, f"{alert.signal.value.capitalize()} drift")
    names = {Signal.ERROR: "Error rate", Signal.ESTIMATE: "Expected accuracy"}
    name = names.get(alert.signal, change.name[:1].upper() + change.name[1:])
    before = f"{percent(change.before)} → " if change.before is not None else ""
    return f"{name}: {before}{percent(change.after)}"


def next_step(alert: DriftAlert) -> str:
    """Return what Headrace does now, in a sentence."""
    return _NEXT[alert.response]


def measured(alert: DriftAlert) -> tuple[str, str]:
    """Return statistic and threshold in the unit of the signal."""
    if alert.signal in _SHARES:
        return percent(alert.statistic), percent(alert.threshold)
    if alert.signal is Signal.SILENCE:
        return duration(alert.statistic), duration(alert.threshold)
    return number(alert.statistic), number(alert.threshold)


def state(alert: DriftAlert, over: Over | None) -> str:
    """Return the word above everything: how loud it is, or that it is over."""
    if "test" in alert.evidence:
        return "test"
    return "over" if over is not None or alert.recovered else alert.severity.value


def _title(alert: DriftAlert, over: Over | None) -> str:
    return f"[{state(alert, over).upper()}] {alert.signal.value} drift of {alert.stream}"


def _head(alert: DriftAlert, found: Explanation, over: Over | None) -> str:
    word = state(alert, over)
    model = f"{alert.model} v{alert.version}" if alert.version else alert.model or "no model"
    said = html(alert.summary, 2000)
    ended = (
        f'<p class="ended"><b>Over since {moment(over.at)}.</b> {html(over.why, 1000)}</p>'
        if over is not None
        else ""
    )
    return (
        f'<header><p class="line"><b class="badge {word}">{word}</b> {alert.signal.value} drift · stream '
        f"<code>{html(alert.stream)}</code> · <code>{html(model)}</code></p>"
        f"<h1>{html(headline(alert, found))}</h1>{ended}<p>{said}</p></header>"
    )


def _facts(alert: DriftAlert, found: Explanation, over: Over | None) -> str:
    """Return what to do, how far it is, and since when."""
    statistic, threshold = measured(alert)
    runbook = html(alert.runbook, 300)
    if alert.runbook.startswith(("https://", "http://")):
        runbook = f'<a href="{html(alert.runbook, 2000)}">{runbook}</a>'
    ran = (alert.raised_at - alert.since).total_seconds()
    later = f' <span class="dim">{duration(ran)} later</span>' if ran >= 1 else ""
    rows = {
        "Now": _NEXT[alert.response] if over is None and not alert.recovered else "Nothing more: it is over.",
        "Runbook": runbook and f"<code>{runbook}</code>",
        "Began": moment(alert.since),
        "Raised": moment(alert.raised_at) + later,
        "Watched": _watched(alert),
        "Found by": f"<code>{html(alert.detector)}</code>",
        "Same cause as": found.cause and f"<code>{html(found.cause)}</code>",
        "Alert": f"<code>{html(alert.id)}</code>",
    }
    listed = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows.items() if value)
    return (
        f'<section class="facts"><div class="how-far"><p><b>{statistic}</b> <span class="dim">threshold '
        f"{threshold}</span></p>{plots.gauge(alert.statistic, alert.threshold)}</div>"
        f"<dl>{listed}</dl></section>"
    )


def _watched(alert: DriftAlert) -> str:
    """Return how many events the alert rests on, and from when to when."""
    count = f"{alert.observations:,} {_UNITS.get(alert.signal, 'events')}"
    begin, end = alert.window_from, alert.window_to
    if begin.date() == end.date():
        return f"{count}, {begin:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC"
    return f"{count}, {moment(begin)} to {moment(end)}"


def _foot(alert: DriftAlert) -> str:
    lines = (
        f"headrace drift show {alert.id}",
        f'headrace drift ack {alert.id} --reason "known, mending"',
        f"headrace drift silence {alert.stream} --for 2h",
    )
    listed = "\n".join(html(line, 300) for line in lines)
    return f"<footer><p>In a terminal:</p><pre>{listed}</pre></footer>"
