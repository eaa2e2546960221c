"""The page of a compression: consumes the variants' figures, produces one self-contained HTML file."""

from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes

from infra.charts import BLUE, chart
from trainers.compression.measure import Worth

_STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2430; --grid: #d3dae2; }
@media (prefers-color-scheme: dark) { :root { --paper: #12161c; --ink: #e4e9f0; --grid: #2f3844; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 24px 64px; }
svg.plot { display: block; width: 100%; height: auto; color: var(--ink); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 4px 16px 4px 0; border-bottom: 1px solid var(--grid); }
td:first-child { text-align: left; }
"""
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
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{said(each)}</td>' for said in _COLUMNS.values())}</tr>"
        for name, each in variants.items()
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Compression of {escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main><h1>Compression of {escape(title)}</h1>\n{_plot(variants)}\n"
        f"<table><tr><th></th>{heads}</tr>{rows}</table>\n</main></body></html>\n"
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
