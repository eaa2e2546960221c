"""Plots of an alert's page: consumes shares before and after, produces SVG whose text keeps its size.

Drawn by hand and not by a plotting library: the drift worker, which writes the pages, would pay 60 MiB for
one; names of classes come from events, and matplotlib reads `$` in them as mathematics; and a picture that is
scaled as a whole has letters that nobody can read on a telephone. So widths are in percent, heights not.
"""

from collections.abc import Sequence
from math import ceil
from typing import Final

from streams.alerts.explanation import Feature, Histogram, Pair
from streams.alerts.page.text import html, number, percent

_TOP, _DEEP, _FOOT = 10, 132, 24
_LEFT: Final = 11.0  # percent of the width, for the scale
_STEPS: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.25)
_SIGN_PX: Final = 6.4
_NARROWEST_PX: Final = 290
_MOST_BARS: Final = 12
LEGEND: Final = '<p class="legend"><i class="before"></i> before <i class="after"></i> after</p>'


def histogram(feature: Feature) -> str:
    """Return a feature's distribution before and after: columns of a number, bars of classes."""
    found = feature.histogram
    if found is None:
        return ""
    most = found.most
    drawn = _columns(feature.name, found) if found.numeric else pairs(_ranked(found))
    told = f"{found.bins[most]}: {percent(found.before[most])} → {percent(found.after[most])}"
    return (
        f"<figure><figcaption><b>{html(feature.name)}</b> "
        f'<span class="dim">most changed: {html(told)}</span></figcaption>{drawn}</figure>'
    )


def _ranked(found: Histogram) -> list[Pair]:
    """Return the classes whose shares changed most, in their own order."""
    by_change = sorted(range(len(found.bins)), key=lambda at: -abs(found.after[at] - found.before[at]))
    kept = found.only(sorted(by_change[:_MOST_BARS]))
    return [Pair(*row) for row in zip(kept.bins, kept.before, kept.after, strict=True)]


def _columns(name: str, found: Histogram) -> str:
    top = max([*found.before, *found.after, 0.01])
    step = next((step for step in _STEPS if top / step <= 4), 0.25)
    top = step * ceil(top / step - 1e-9)
    bottom = _TOP + _DEEP
    wide = (100.0 - _LEFT) / len(found.bins)
    marks = []
    for line in range(round(top / step) + 1):
        y = bottom - _DEEP * line * step / top
        marks.append(f'<line class="grid" x1="{_LEFT}%" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        marks.append(f'<text x="{_LEFT - 1.5}%" y="{y + 3.5:.1f}" text-anchor="end">{line * step:.0%}</text>')
    for at, (label, *shares) in enumerate(zip(found.bins, found.before, found.after, strict=True)):
        told = f"{label}: {percent(shares[0])} before, {percent(shares[1])} after"
        columns = ""
        for side, share in enumerate(shares):
            x = _LEFT + wide * (at + 0.1 + 0.4 * side)
            high = max(_DEEP * share / top, 0.8 if share else 0.0)
            columns += (
                f'<rect class="{("before", "after")[side]}" x="{x:.2f}%" y="{bottom - high:.1f}" '
                f'width="{0.4 * wide:.2f}%" height="{high:.1f}"/>'
            )
        marks.append(f"<g><title>{html(told)}</title>{columns}</g>")
    marks += _scale(found.bins, wide, bottom + 15)
    about = f"{name}: share of the events by bin, before and after"
    high = bottom + _FOOT
    return (
        f'<svg class="plot" width="100%" height="{high}" role="img" aria-label="{html(about)}">'
        f"{''.join(marks)}</svg>"
    )


def _scale(bins: Sequence[str], wide: float, y: float) -> list[str]:
    """Return the borders between bins, as many as find room on a narrow page, the last one among them."""
    missing = bins[-1] == "missing"
    borders = [(at + 1, border(label)) for at, label in enumerate(bins) if label.startswith("≤ ")]
    borders = [(at, label) for at, label in borders if at < len(bins) - missing]
    longest = max((len(label) for _, label in borders), default=1)
    room = max(1, int(_NARROWEST_PX / (_SIGN_PX * longest + 8)))
    every = ceil(len(borders) / room) or 1
    texts = [
        f'<text x="{_LEFT + wide * at:.2f}%" y="{y}" text-anchor="middle">{html(label)}</text>'
        for at, label in borders[::-1][::every]
        if not missing or at < len(bins) - 2 or len(bins) < 4
    ]
    return [*texts, f'<text x="100%" y="{y}" text-anchor="end">missing</text>'] if missing else texts


def border(label: str) -> str:
    """Return the upper end of a bin; the smallest number there is, under 0, is written as 0."""
    return "0" if "e-3" in label and len(label.rpartition("e-")[2]) == 3 else label.removeprefix("≤ ")


def pairs(rows: Sequence[Pair]) -> str:
    """Return shares before and after as bars, a name to a row; all rows have one scale."""
    most = max([0.01, *(max(row.before or 0.0, row.after) for row in rows)])
    return f'<div class="pairs">{"".join(_pair(row, most) for row in rows)}</div>'


def _pair(row: Pair, most: float) -> str:
    bars = "".join(
        f'<rect class="{side}" y="{y}" width="{_long(share, most):.2f}%" height="7"/>'
        for side, y, share in (("before", 1, row.before), ("after", 9, row.after))
        if share is not None
    )
    change = f"{percent(row.before)} → {percent(row.after)}" if row.before is not None else percent(row.after)
    note = f" <small>{html(row.note)}</small>" if row.note else ""
    return (
        f'<div class="pair"><code>{html(row.name, 60)}</code>'
        f'<svg width="100%" height="17" aria-hidden="true">{bars}</svg><span>{change}{note}</span></div>'
    )


def _long(share: float, most: float) -> float:
    """Return a bar's length in percent; what is not nothing is seen."""
    return max(100.0 * share / most, 0.4 if share else 0.0)


def counts(rows: Sequence[tuple[str, int]]) -> str:
    """Return counts as bars, a name to a row."""
    most = max([1, *(count for _, count in rows)])
    bars = "".join(
        f'<div class="pair"><code>{html(name, 60)}</code><svg width="100%" height="17" aria-hidden="true">'
        f'<rect class="after" y="4" width="{100.0 * count / most:.2f}%" height="9"/></svg>'
        f"<span>{count:,}</span></div>"
        for name, count in rows
    )
    return f'<div class="pairs">{bars}</div>'


def share_bar(share: float) -> str:
    """Return a small bar of a share of the whole."""
    wide = 100.0 * min(1.0, max(0.0, share))
    return (
        '<svg class="share" height="9" aria-hidden="true"><rect class="rest" width="100%" height="9"/>'
        f'<rect class="after" width="{wide:.1f}%" height="9"/></svg>'
    )


def course(before: Sequence[float], value: float) -> str:
    """Return readings as a line, the newest one apart from it, with the smallest and the largest named."""
    values = [*before, value]
    low, high = min(values), max(values)
    places = [
        (100.0 * at / max(1, len(values) - 1), 4 + 92 * (high - one) / (high - low or 1.0))
        for at, one in enumerate(values)
    ]
    line = " ".join(f"{x:.2f},{y:.1f}" for x, y in places[:-1])
    told = f'<i class="before"></i> before <i class="after"></i> now · {number(low)} to {number(high)}'
    newest = f'x="{min(places[-1][0], 99.0):.2f}" y="{places[-1][1] - 4:.1f}" width="1" height="8"'
    return (
        f'<p class="legend">{told}</p><svg class="course" width="100%" height="100" viewBox="0 0 100 100" '
        'preserveAspectRatio="none" role="img" aria-label="the readings before, and the new one">'
        f'<polyline points="{line}"/><rect class="after" {newest}/></svg>'
    )


def gauge(statistic: float, threshold: float) -> str:
    """Return a statistic as a bar, and its threshold as a mark on it."""
    most = max(statistic, threshold, 1e-12) * 1.08
    bar, mark = (100.0 * max(0.0, value) / most for value in (statistic, threshold))
    about = f"{number(statistic)}, threshold {number(threshold)}"
    return (
        f'<svg class="gauge" width="100%" height="16" role="img" aria-label="{about}">'
        '<rect class="rest" y="3" width="100%" height="10"/>'
        f'<rect class="loud" y="3" width="{bar:.1f}%" height="10"/>'
        f'<line class="mark" x1="{mark:.1f}%" x2="{mark:.1f}%" y1="0" y2="16"/></svg>'
    )
