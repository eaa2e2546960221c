"""The figures of growth for people: consumes them, produces a table of text and a page with plots."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes

from infra.charts import BLUE, GREEN, ORANGE, RED, VIOLET, chart
from infra.page import document

_COLOURS: Final = (BLUE, GREEN, ORANGE, VIOLET, RED)
_HEADS: Final = (
    "identities", "tasks", "events/s", "CPU µs an event", "checkpoint MB", "checkpoint ms", "longest ms",
)  # fmt: skip


def table(figures: Mapping[str, Any]) -> str:
    """Return the cells as a Markdown table."""
    rows = [f"| {' | '.join(_HEADS)} |", "|" + "--:|" * len(_HEADS)]
    rows += [f"| {' | '.join(_row(cell))} |" for cell in figures["cells"]]
    return "\n".join(rows)


def limit(figures: Mapping[str, Any]) -> str:
    """Name the number of tasks from which on more bring nothing: there the cores are the limit.

    More tasks bring something while the rate rises by more than a tenth.
    """
    said = []
    for keys, cells in _by_keys(figures).items():
        best = cells[0]
        for cell in cells[1:]:
            if cell["events_per_s"] <= 1.1 * best["events_per_s"]:
                break
            best = cell
        told = f"{keys:,} identities: {best['events_per_s']:,} events/s with {_tasks(best['tasks'])}"
        said.append(told + ("" if best is cells[-1] else ", and more bring nothing"))
    return f"On {figures['cores']} cores, which broker and load share. " + ". ".join(said) + "."


def write(path: Path, figures: Mapping[str, Any]) -> None:
    """Write the page."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in _HEADS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(value)}</td>" for value in _row(cell)) + "</tr>"
        for cell in figures["cells"]
    )
    body = (
        f"<h1>How the cleaning job grows on Flink</h1>\n<p>{escape(limit(figures))}</p>\n"
        f"{_rates(figures)}\n"
        f"{_checkpoints(figures, 'checkpoint, MB', lambda cell: cell['checkpoint_bytes'] / 1e6)}\n"
        f"{_checkpoints(figures, 'median checkpoint, ms', lambda cell: cell['checkpoint_ms']['median'])}\n"
        f'<div class="wide"><table><tr>{heads}</tr>{rows}</table></div>'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document("Growth on Flink", body), encoding="utf-8")


def _rates(figures: Mapping[str, Any]) -> str:
    def draw(axes: Axes) -> None:
        for colour, (keys, cells) in zip(_COLOURS, _by_keys(figures).items(), strict=False):
            tasks, rates = [cell["tasks"] for cell in cells], [cell["events_per_s"] for cell in cells]
            axes.plot(tasks, rates, "o-", color=colour, label=f"{keys:,} identities")
        axes.set_xticks(sorted({cell["tasks"] for cell in figures["cells"]}))
        axes.set_xlabel("tasks")
        axes.set_ylabel("events/s")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.set_ylim(bottom=0)
        axes.legend()

    return chart(draw, height=3.8)


def _checkpoints(figures: Mapping[str, Any], title: str, of: Callable[[Mapping[str, Any]], float]) -> str:
    def draw(axes: Axes) -> None:
        by_tasks: dict[int, list[dict[str, Any]]] = {}
        for cells in _by_keys(figures).values():
            for cell in cells:
                if cell["checkpoint_ms"]["median"] is not None:
                    by_tasks.setdefault(cell["tasks"], []).append(cell)
        for colour, (tasks, cells) in zip(_COLOURS, by_tasks.items(), strict=False):
            keys, values = [cell["keys"] / 1e6 for cell in cells], [of(cell) for cell in cells]
            axes.plot(keys, values, "o-", color=colour, label=_tasks(tasks))
        axes.set_xlabel("million identities in the state")
        axes.set_ylabel(title)
        axes.set_ylim(bottom=0)
        axes.legend()

    return chart(draw, height=3.4)


def _tasks(count: int) -> str:
    return f"{count} task" if count == 1 else f"{count} tasks"


def _by_keys(figures: Mapping[str, Any]) -> dict[int, list[dict[str, Any]]]:
    """Return the cells that were measured, by their identities, in order of their tasks."""
    found: dict[int, list[dict[str, Any]]] = {}
    for cell in sorted(figures["cells"], key=lambda cell: (cell["keys"], cell["tasks"])):
        if "failed" not in cell:
            found.setdefault(cell["keys"], []).append(cell)
    return found


def _row(cell: Mapping[str, Any]) -> Sequence[str]:
    size = (f"{cell['keys']:,}", str(cell["tasks"]))
    if "failed" in cell:
        return (*size, "failed", "", "", "", "")
    times = cell["checkpoint_ms"]
    return (
        *size,
        f"{cell['events_per_s']:,}",
        f"{cell['cpu_us_per_event']:.1f}",
        f"{cell['checkpoint_bytes'] / 1e6:,.1f}",
        "" if times["median"] is None else f"{times['median']:,}",
        "" if times["longest"] is None else f"{times['longest']:,}",
    )
