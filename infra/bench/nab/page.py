"""The benchmark's HTML page: consumes figures, series and scores, produces one self-contained file.

A plot a series: the readings, the labelled windows, the rows that are not judged, and the alarms.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from infra.bench.nab.corpus import Series
from infra.bench.nab.profiles import PROFILES, STANDARD
from infra.bench.nab.scoring import Floats, probation
from infra.charts import BLUE, GREEN, INK, RED, chart
from infra.page import document


def write(path: Path, figures: dict[str, Any], corpus: Sequence[Series], scores: Sequence[Floats]) -> None:
    """Write the page; `scores` are the first detector's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(figures, corpus, scores), encoding="utf-8")


def page(figures: dict[str, Any], corpus: Sequence[Series], scores: Sequence[Floats]) -> str:
    """Return the page."""
    name, said = next(iter(figures["detectors"].items()))
    threshold = said["profiles"][STANDARD.name]["threshold"]
    plots = "\n".join(
        f"<h3>{escape(each['series'])}: {each['found']} of {each['windows']} windows found, "
        f"{each['false_alarms']} false</h3>{_plot(series, score >= threshold)}"
        for series, score, each in zip(corpus, scores, said["by_series"], strict=True)
    )
    return document(
        f"Numenta Anomaly Benchmark: {name}",
        f"<h1>Numenta Anomaly Benchmark</h1>\n{_table(figures)}\n"
        f"<p>Below, {escape(name)} at threshold {threshold:g}, the best of the {STANDARD.name} profile over "
        "all series. Green: labelled windows. Red: alarms. Left of the dashed line nothing is judged.</p>\n"
        f"{plots}",
    )


def _table(figures: dict[str, Any]) -> str:
    heads = "".join(f"<th>{profile.name}</th>" for profile in PROFILES)
    rows = "".join(
        f'<tr><td class="name">{escape(name)}</td>'
        + "".join(f"<td>{said['profiles'][profile.name]['score']:.2f}</td>" for profile in PROFILES)
        + f"<td>{said['profiles'][STANDARD.name]['found']} of {figures['windows']}</td>"
        f"<td>{said['profiles'][STANDARD.name]['false_alarms']}</td></tr>"
        for name, said in figures["detectors"].items()
    )
    return f"<table><tr><th></th>{heads}<th>found</th><th>false alarms</th></tr>{rows}</table>"


def _plot(series: Series, alarms: "np.ndarray[Any, np.dtype[np.bool_]]") -> str:
    def draw(axes: Axes) -> None:
        for window in series.windows:
            axes.axvspan(window.first, window.last, color=GREEN, alpha=0.2, linewidth=0)
        axes.axvline(probation(len(series.values)), color=INK, linestyle="--", linewidth=0.8)
        axes.plot(series.values, color=BLUE, linewidth=0.7)
        rows = np.flatnonzero(alarms)
        axes.plot(rows, [series.values[row] for row in rows], "o", color=RED, markersize=4)
        axes.set_xlim(0, len(series.values))

    return chart(draw, height=1.7)
