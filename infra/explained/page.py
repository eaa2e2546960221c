"""An explanation as a page: consumes it, produces one HTML file on its own, words shaded by what they add.

Nothing is loaded and no script runs, whatever stands in the event: the page's policy says so, and all of the
event is escaped.
"""

from functools import cache
from pathlib import Path
from typing import Final

from infra.explained.told import Told, facts, headline, most, numbered, ranked
from streams.alerts.page.text import html
from trainers.explain.explanation import LOG_ODDS, SCORE, Explanation, Reason

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@cache
def _style() -> str:
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def page(found: Explanation, told: Told) -> str:
    """Return the page of an explanation."""
    title = html(headline(found), 300)
    body = "\n".join((_text(found), _legend(found), _reasons(found), _facts(found, told)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">'
        f"<title>{title}</title><style>{_style()}</style></head>\n"
        f"<body><main><h1>{title}</h1>\n{body}\n</main></body></html>\n"
    )


def _text(found: Explanation) -> str:
    if not found.text:
        return ""
    largest, parts, at = most(found), [], 0
    for reason in found.reasons:
        parts.append(_plain(found.text[at : reason.begin]))
        parts.append(
            f'<mark class="{_way(reason)}" style="--strength:{abs(reason.share) / largest:.3f}" '
            f'title="{reason.share:+.3f}">{_plain(found.text[reason.begin : reason.end])}</mark>'
        )
        at = reason.end
    parts.append(_plain(found.text[at : found.read]))
    if found.read < len(found.text):
        parts.append(f'<span class="unread" title="not read">{_plain(found.text[found.read :])}</span>')
    return f'<p class="text">{"".join(parts)}</p>'


def _legend(found: Explanation) -> str:
    more, less = f"speaks for {html(found.label)}", "speaks against it"
    if found.unit != LOG_ODDS:
        more, less = f"raises the {'score' if found.unit == SCORE else 'number'}", "lowers it"
    return (
        f'<p class="legend"><mark class="for" style="--strength:1">{more}</mark> '
        f'<mark class="against" style="--strength:1">{less}</mark></p>'
    )


def _reasons(found: Explanation) -> str:
    readings = any(reason.usual is not None for reason in found.reasons)
    largest = most(found)
    heads = [*(("value", "usually") if readings else ()), "adds"]
    rows = []
    for reason in ranked(found):
        seen = "".join(f'<td class="number">{one}</td>' for one in numbered(reason)) if readings else ""
        wide = 50 * abs(reason.share) / largest
        bar = f'<i class="{_way(reason)}" style="width:{wide:.2f}%"></i>'
        rows.append(
            f"<tr><td><code>{html(reason.name)}</code></td>{seen}"
            f'<td class="number">{reason.share:+.3f}</td><td class="bar">{bar}</td></tr>'
        )
    head = f"<th>{'reading' if readings else 'word'}</th>" + "".join(
        f'<th class="number">{name}</th>' for name in heads
    )
    return f"<table><thead><tr>{head}<th></th></tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _facts(found: Explanation, told: Told) -> str:
    listed = "".join(f"<dt>{html(name)}</dt><dd>{html(said, 600)}</dd>" for name, said in facts(found, told))
    notes = "".join(f'<p class="note">{html(note, 400)}</p>' for note in found.notes)
    return f"{notes}<dl>{listed}</dl>"


def _way(reason: Reason) -> str:
    return "against" if reason.share < 0 else "for"


def _plain(text: str) -> str:
    return html(text, max(1, len(text)))
