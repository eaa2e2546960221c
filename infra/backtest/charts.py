"""Plots of the backtest's page: consumes an outcome, produces SVG for the HTML report (`infra.charts`)."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from numpy.typing import NDArray

from infra.backtest.moved import Moved
from infra.charts import BLUE, GREEN, INK, ORANGE, RED, VIOLET, chart

_GREY: Final = "#8a94a3"
LINES: Final = {
    "model": BLUE,
    "always retrain": GREEN,
    "no change": ORANGE,
    "frozen": _GREY,
}
MARKS: Final = {
    "true drift": (INK, "-"),
    "alert": (RED, ":"),
    "input alert": (ORANGE, ":"),
    "release": (VIOLET, "--"),
    "rollback": (ORANGE, "--"),
}

_BINS: Final = 24
_WORDS: Final = 12

Points = Sequence[tuple[float, float]]


def accuracy_chart(lines: Mapping[str, Points], marks: Mapping[str, Sequence[int]], rows: int) -> str:
    """Draw the accuracy of every contestant over the rows, and what happened at which row."""

    def draw(axes: Axes) -> None:
        for name, points in reversed(list(lines.items())):
            wide = 2.2 if name == "model" else 1.2
            axes.plot(*zip(*points, strict=True), color=LINES[name], linewidth=wide, label=name)
        for name, places in marks.items():
            colour, dash = MARKS[name]
            for number, row in enumerate(places):
                axes.axvline(
                    row,
                    color=colour,
                    linestyle=dash,
                    linewidth=1.3,
                    label=name if not number else None,
                    alpha=0.8,
                    zorder=0.5,
                )
        lowest = min(y for points in lines.values() for _, y in points)
        axes.set_ylim(max(-0.02, lowest - 0.05), 1.02)
        axes.set_xlim(0, rows)
        axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
        axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        axes.set_xlabel("row")
        _legend(axes, len(lines))

    return chart(draw, height=4.0, width=10.6)


def _legend(axes: Axes, lines: int) -> None:
    """Put the names above, the model's first: it was drawn last, to lie on top."""
    handles, names = axes.get_legend_handles_labels()
    order = [*range(lines - 1, -1, -1), *range(lines, len(names))]
    axes.legend(
        [handles[at] for at in order],
        [names[at] for at in order],
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=8,
        fontsize=9,
    )


def moved_chart(feature: Moved) -> str:
    """Draw a feature's distribution before and after."""

    def draw(axes: Axes) -> None:
        if feature.words:
            _bars(axes, feature)
        else:
            _steps(axes, feature.before, feature.after)
        axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
        axes.grid(visible=False, axis="x")
        axes.legend(fontsize=8, loc="best")

    return chart(draw, height=2.5, width=5.2)


def _bars(axes: Axes, feature: Moved) -> None:
    count = len(feature.words)
    shares = [
        np.bincount(side.astype(int), minlength=count) / max(1, side.size)
        for side in (feature.before, feature.after)
    ]
    shown = np.sort(np.argsort(-(shares[0] + shares[1]))[:_WORDS])
    places = np.arange(len(shown))
    axes.bar(places - 0.2, shares[0][shown], 0.4, color=_GREY, label="before")
    axes.bar(places + 0.2, shares[1][shown], 0.4, color=BLUE, label="after")
    names = [feature.words[at][:18] for at in shown]
    turn = sum(map(len, names)) > 50
    axes.set_xticks(places, names, rotation=30 if turn else 0, ha="right" if turn else "center", fontsize=8)


def _steps(axes: Axes, before: NDArray[np.float64], after: NDArray[np.float64]) -> None:
    both = np.concatenate([before, after])
    low, high = np.quantile(both, (0.005, 0.995))
    if low == high:
        low, high = both.min() - 0.5, both.max() + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    for side, colour, name, full in ((before, _GREY, "before", True), (after, BLUE, "after", False)):
        shares = np.histogram(side.clip(low, high), edges)[0] / max(1, side.size)
        axes.stairs(
            shares, edges, color=colour, label=name, fill=full, alpha=0.55 if full else 1.0, linewidth=1.8
        )
