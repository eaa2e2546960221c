"""The picture of `headrace bench ingest`: consumes its figures, produces an SVG of latency and memory."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure


def write(figures: dict[str, Any], path: Path) -> None:
    """Draw latency percentiles and each process's resident memory over the run's seconds."""
    with mpl.rc_context({"svg.hashsalt": "headrace", "font.size": 9, "axes.spines.top": False}):
        figure = Figure(figsize=(9.5, 5.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        seconds = figures["by_second"]
        for name, colour in (("p50", "#3b82f6"), ("p95", "#f59e0b"), ("p99", "#ef4444")):
            upper.plot([s["at_s"] for s in seconds], [s[name] for s in seconds], color=colour, label=name)
        upper.set_ylim(bottom=0)
        upper.set_ylabel("publish to selectable, ms")
        upper.legend(ncols=3, frameon=False)
        upper.set_title(
            f"{figures['rate']:.0f} events/s of kind {figures['kind']}, everything on one machine", loc="left"
        )
        samples = figures["rss_over_time"]
        for name in (name for name in samples[0] if name != "at_s"):
            line = [(s["at_s"], s[name] / 2**20) for s in samples if name in s]
            lower.plot([x for x, _ in line], [y for _, y in line], label=name)
        lower.set_ylim(bottom=0)
        lower.set_ylabel("resident memory, MiB")
        lower.set_xlabel("seconds since the warm-up ended")
        lower.legend(ncols=4, frameon=False)
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
