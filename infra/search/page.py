"""The search as a page: consumes what was found, produces one self-contained HTML file with plots.

Trials in their order with the best so far, what each parameter contributed, and each parameter's values
against what came of them.
"""

from collections.abc import Sequence
from functools import partial
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes

from infra.charts import BLUE, GREEN, INK, ORANGE, chart
from infra.page import document
from trainers.search.space import Choices, Range, Space
from trainers.search.study import Found, Tried

_FAR: Final = 20.0


def write(path: Path, title: str, space: Space, found: Found, metrics: dict[str, float]) -> None:
    """Write the page; `metrics` are the best model's on the test rows."""
    path.write_text(page(title, space, found, metrics), encoding="utf-8")


def page(title: str, space: Space, found: Found, metrics: dict[str, float]) -> str:
    """Return the page."""
    told = ", ".join(f"{escape(name)} {value:.4f}" for name, value in metrics.items())
    summary = (
        f"<p>{len(found.trials)} trials; {escape(found.ended)}. Best: number {found.best.number}, "
        f"{found.best.value:.5g} on the validation rows. Trained with it, on the test rows: {told}.</p>"
    )
    history = chart(partial(_history, found.trials), height=3.0)
    parts = [f"<h1>{escape(title)}</h1>", summary, "<h2>Trials</h2>", history]
    if found.importance:
        height = 0.6 + 0.35 * len(found.importance)
        parts += [
            "<h2>What mattered</h2>",
            "<p>The share of the differences between trials that each parameter explains (fANOVA).</p>",
            chart(partial(_importance, found.importance), height=height),
        ]
    parts.append("<h2>Parameter by parameter</h2>")
    for name, given in space.items():
        parts.append(chart(partial(_slice, found.trials, name, given), height=2.4))
    parts += ["<h2>All trials</h2>", _table(found.trials, list(space))]
    return document(title, "\n".join(parts))


def _history(trials: Sequence[Tried], axes: Axes) -> None:
    complete = {n: trial.value for n, trial in enumerate(trials, start=1) if trial.value is not None}
    early = {
        n: min(trial.epochs) for n, trial in enumerate(trials, start=1) if n not in complete and trial.epochs
    }
    axes.scatter(list(complete), list(complete.values()), color=BLUE, s=22, label="complete")
    if early:
        axes.scatter(list(early), list(early.values()), color=ORANGE, s=22, marker="x", label="ended early")
    best = list(accumulate(complete.values(), min))
    axes.step(list(complete), best, where="post", color=GREEN, label="best so far")
    axes.set_xlabel("trial")
    _judged(axes, [*complete.values(), *early.values()])
    axes.legend()


def _importance(shares: dict[str, float], axes: Axes) -> None:
    names = list(reversed(shares))
    axes.barh(names, [shares[name] for name in names], color=BLUE, height=0.6)
    axes.set_xlim(0, 1)
    axes.grid(visible=False, axis="y")


def _slice(trials: Sequence[Tried], name: str, given: Range | Choices, axes: Axes) -> None:
    points = [(trial.values[name], trial.value) for trial in trials if trial.value is not None]
    if points:
        wordy = any(isinstance(value, str) for value, _ in points)
        axes.scatter([str(v) if wordy else v for v, _ in points], [y for _, y in points], color=BLUE, s=22)
    if isinstance(given, Range) and given.log:
        axes.set_xscale("log")
    axes.set_xlabel(name, color=INK)
    _judged(axes, [value for _, value in points])


def _judged(axes: Axes, values: Sequence[float]) -> None:
    """Label what trials are compared by, on a logarithmic scale where the worst is far from the best."""
    axes.set_ylabel("validation")
    if values and 0 < _FAR * min(values) < max(values):
        axes.set_yscale("log")


def _table(trials: Sequence[Tried], names: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in ("trial", *names, "validation", "state", "seconds"))
    rows = []
    for trial in sorted(trials, key=lambda one: float("inf") if one.value is None else one.value):
        values = (shown(trial.values.get(name)) for name in names)
        value = "" if trial.value is None else f"{trial.value:.5g}"
        state = trial.state + (f": {trial.reason}" if trial.reason else "")
        cells = (str(trial.number), *values, value, state, f"{trial.seconds:.1f}")
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def shown(value: object) -> str:
    """Return a value of a trial as people read it."""
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
