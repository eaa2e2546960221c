"""Plots of the demo's page: consumes series, produces SVG for the HTML report (`infra.charts`)."""

from collections.abc import Mapping, Sequence

from matplotlib import ticker
from matplotlib.axes import Axes

from infra.charts import BLUE, GREEN, ORANGE, RED, VIOLET, chart
from infra.demo.series import Points, thinned

Mark = tuple[float, str, str]
"""Seconds, name and colour of a milestone."""


def accuracy_chart(points: Points, marks: Sequence[Mark], levels: Mapping[str, float | None]) -> str:
    """Draw accuracy over time with the loop's milestones."""

    def draw(axes: Axes) -> None:
        _line(axes, points, BLUE)
        axes.set_ylim(min([0.5, *(y for _, y in points)]) - 0.05, 1.08)
        axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
        _mark(axes, marks)
        text = " · ".join(f"{name} {value:.1%}" for name, value in levels.items() if value is not None)
        axes.set_title(text, loc="right", fontsize=9)
        axes.set_xlabel("seconds since the traffic began")

    return chart(draw, height=3.4)


def drift_chart(levels: Sequence[tuple[float, float]], marks: Sequence[Mark]) -> str:
    """Draw the drift statistic as a share of its threshold."""

    def draw(axes: Axes) -> None:
        _line(axes, list(levels), ORANGE)
        axes.axhline(1.0, color=RED, linewidth=1.2, linestyle="--")
        axes.text(
            0.005, 1.02, "threshold", color=RED, fontsize=9, transform=axes.get_yaxis_transform(), va="bottom"
        )
        axes.set_ylim(0, max([1.3, *(y * 1.1 for _, y in levels)]))
        axes.set_ylabel("statistic ÷ threshold")
        axes.set_xlabel("seconds since the traffic began")
        _mark(axes, marks)

    return chart(draw, height=2.6)


def rate_chart(series: Mapping[str, Points], marks: Sequence[Mark]) -> str:
    """Draw events per second at each station."""

    def draw(axes: Axes) -> None:
        for (name, points), colour in zip(series.items(), (BLUE, GREEN, VIOLET), strict=False):
            _line(axes, points, colour, name)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("events per second")
        axes.set_xlabel("seconds since the traffic began")
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=9)
        _mark(axes, marks, named=False)

    return chart(draw, height=2.6)


def latency_chart(series: Mapping[str, Sequence[float]]) -> str:
    """Draw the cumulative distribution of latencies in milliseconds."""

    def draw(axes: Axes) -> None:
        for (name, values), colour in zip(series.items(), (BLUE, GREEN), strict=False):
            ranked = sorted(values)
            points = [(value, (index + 1) / len(ranked)) for index, value in enumerate(ranked)]
            _line(axes, points, colour, name)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda x, _: f"{x:g}"))
        axes.yaxis.set_major_formatter(ticker.PercentFormatter(1.0))
        axes.set_xlabel("milliseconds from sending, log scale")
        axes.set_ylabel("events that arrived")
        axes.legend(loc="lower right", fontsize=9)

    return chart(draw, height=2.8, width=5.2)


def bar_chart(counts: Mapping[str, int], colours: Mapping[str, str]) -> str:
    """Draw counts as horizontal bars, longest on top."""
    ranked = sorted(counts.items(), key=lambda item: item[1])

    def draw(axes: Axes) -> None:
        names = [name for name, _ in ranked]
        values = [value for _, value in ranked]
        bars = axes.barh(names, values, color=[colours.get(name, BLUE) for name in names], height=0.66)
        axes.bar_label(bars, padding=4, fontsize=9)
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.12)

    return chart(draw, height=max(1.4, 0.27 * len(ranked) + 0.5), width=5.2)


def _line(axes: Axes, points: Points, colour: str, name: str = "") -> None:
    shown = thinned(points)
    axes.plot([x for x, _ in shown], [y for _, y in shown], color=colour, label=name or None)


def _mark(axes: Axes, marks: Sequence[Mark], *, named: bool = True) -> None:
    """Draw the milestones; names that would overlap hang at different heights."""
    for index, (at_s, name, colour) in enumerate(marks):
        axes.axvline(at_s, color=colour, linewidth=1.2, linestyle=":")
        if named:
            height = 0.98 - 0.085 * (index % 4)
            axes.annotate(
                name,
                (at_s, height),
                xycoords=axes.get_xaxis_transform(),
                xytext=(4, 0),
                textcoords="offset points",
                color=colour,
                fontsize=9,
                va="top",
            )
