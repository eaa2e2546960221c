"""What the plots of our HTML pages share: consumes what is to be drawn, produces an SVG element.

Axes and text take the page's own colour (`currentColor`), so one file serves light and dark paper; the lines'
colours are chosen to stand out on either.
"""

import io
import re
from collections.abc import Callable
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK: Final = "#123457"
"""Stands for the page's text colour until the element is made."""
_GRID: Final = "#123458"
BLUE: Final = "#3b82f6"
GREEN: Final = "#10b981"
ORANGE: Final = "#f59e0b"
RED: Final = "#ef4444"
VIOLET: Final = "#a855f7"

_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "headrace",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.transparent": True,
    "lines.linewidth": 1.8,
}


def chart(draw: Callable[[Axes], None], *, height: float, width: float = 10.6) -> str:
    """Return what `draw` puts on the axes as SVG; `height` and `width` in inches."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        return _svg(figure)


def _svg(figure: Figure) -> str:
    """Return the figure as an SVG element that scales with the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r'\1 class="plot" role="img"', text, count=1)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text.replace(INK, "currentColor").replace(_GRID, "var(--grid)")
