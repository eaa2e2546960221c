"""The page of a compression: consumes the variants' figures, produces one self-contained HTML file."""

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes

from infra.charts import BLUE, chart
from infra.page import document
from trainers.compression.measure import Worth

_COLUMNS: Final[dict[str, Callable[[Worth], str]]] = {
    "MB": lambda each: f"{each.bytes / 1e6:.1f}",
    "p50 ms": lambda each: f"{each.p50_ms:.2f}",
    "p99 ms": lambda each: f"{each.p99_ms:.2f}",
    "rows/s": lambda each: f"{each.rows_per_s:.0f}",
    "accuracy": lambda each: f"{each.accuracy:.4f}",
    "agrees": lambda each: f"{each.agreement:.4f}",
}


def write(path: Path, title: str, variants: Mapping[str, Worth]) -> None:
    """Write the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(title, variants), encoding="utf-8")


def page(title: str, variants: Mapping[str, Worth]) -> str:
    """Return the page: what each variant costs in accuracy and gains in time, and the figures."""
    heads = "".join(f"<th>{name}</th>" for name in _COLUMNS)
    rows = "".join(
        f'<tr><td class="name">{escape(name)}</td>'
        + "".join(f"<td>{said(each)}</td>" for said in _COLUMNS.values())
        + "</tr>"
        for name, each in variants.items()
    )
    return document(
        f"Compression of {title}",
        f"<h1>Compression of {escape(title)}</h1>\n{_plot(variants)}\n"
        f"<table><tr><th></th>{heads}</tr>{rows}</table>",
    )


def _plot(variants: Mapping[str, Worth]) -> str:
    def draw(axes: Axes) -> None:
        for name, each in variants.items():
            axes.plot(each.p50_ms, each.accuracy, "o", color=BLUE, markersize=4 + each.bytes**0.5 / 1000)
            axes.annotate(
                name, (each.p50_ms, each.accuracy), xytext=(7, 4), textcoords="offset points", fontsize=8
            )
        axes.set_xlabel("p50 of one row, ms (a larger mark is a larger file)")
        axes.set_ylabel("accuracy on held-out rows")

    return chart(draw, height=4.2)
