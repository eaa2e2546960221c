"""The figures for people: consumes the JSON of a run, produces a table, a plot and their place in the docs.

    python -m infra.bench.streams.report FIGURES.json

renews the table in `infra/docs/benchmarks.md` and the plot beside it.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from infra.bench.streams.engines import AT_LEAST_ONCE, FLINK, HEADRACE

DOCS: Final = Path(__file__).parents[2] / "docs"
_BEGIN: Final = "<!-- streams: made by infra.bench.streams.report -->"
_END: Final = "<!-- streams: end -->"
_OURS: Final = "#17324a"
_EXACTLY: Final = "#2a8496"
_AT_LEAST: Final = "#c99a1f"


def table(figures: Mapping[str, Any]) -> str:
    """Return the comparison as a Markdown table, fastest first, failed engines last."""
    rows = [
        "| engine | guarantee | events/s (median) | rounds | Headrace is | CPU µs/event | lost | doubled |",
        "|---|---|--:|---|--:|--:|--:|--:|",
    ]
    for name, engine in _ranked(figures):
        head = f"| {engine['title']} | {engine['guarantee']} |"
        if engine["median"] is None:
            rows.append(f"{head} failed | | | | | |")
            continue
        ratio = figures["ratios"].get(name)
        rounds = " / ".join(f"{rate:,}" for rate in engine["events_per_s"])
        rows.append(
            f"{head} {engine['median']:,} | {rounds} | {f'{ratio:.1f} ×' if ratio else ''} |"
            f" {engine['cpu_us_per_event']:.1f} | {engine['lost']:,} | {engine['doubled']:,} |"
        )
    return "\n".join(rows)


def sentences(figures: Mapping[str, Any]) -> str:
    """Return what the table cannot say: the circumstances, the cost of exactly once, who was faster."""
    job, machine = figures["job"], figures["machine"]
    told = [
        (
            f"Measured {figures['at'][:10]} on {machine['cores']} cores ({machine['cpu']}), broker and engine"
            f" together: {_rounds(job['rounds'])}, {job['partitions']} partitions, events of"
            f" {job['event_bytes']} bytes, {job['duplicates']:.0%} of them duplicates."
        )
    ]
    cost = figures["exactly_once_cost"]
    if cost is not None:
        price = f"costs {cost:.1%} of the rate" if cost > 0 else "cost nothing that could be measured"
        told.append(f"Exactly once {price}, against the same worker committing at most 100 ms apart.")
    if figures.get("flink_ratio"):
        ratio = figures["flink_ratio"]
        told.append(f"On Flink, Headrace's whole chain runs at {ratio:.2f} times the rate of Flink SQL.")
    ahead = [figures["engines"][name]["title"] for name, ratio in figures["ratios"].items() if ratio < 1]
    if ahead:
        told.append(f"Faster than Headrace in this run: {', '.join(ahead)}.")
    failed = [engine["title"] for engine in figures["engines"].values() if engine.get("failed")]
    if failed:
        told.append(f"Failed in at least one round: {', '.join(failed)}.")
    return " ".join(told)


def plot(figures: Mapping[str, Any], path: Path) -> None:
    """Draw the medians as bars and the rounds as points; the suffix of `path` says the format."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    ranked = [(name, engine) for name, engine in _ranked(figures) if engine["median"] is not None]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "headrace", "font.size": 10}):
        figure = Figure(figsize=(9, 0.55 * len(ranked) + 1.2), layout="constrained")
        axes = figure.subplots()
        for place, (name, engine) in enumerate(ranked):
            axes.barh(place, engine["median"], height=0.62, color=_colour(name, engine))
            axes.plot(engine["events_per_s"], [place] * len(engine["events_per_s"]), "o", color="#888", ms=3)
            told = f"   {engine['median']:,}, {engine['guarantee'].partition(' (')[0]}"
            axes.text(max(engine["events_per_s"]), place, told, va="center")
        axes.set_yticks(range(len(ranked)), [engine["title"] for _, engine in ranked])
        axes.invert_yaxis()
        axes.set_xlabel("events per second: decode, check, drop duplicates, normalise, produce")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:,.0f}"))
        axes.margins(x=0.3)
        axes.set_xlim(left=0)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def renew(figures: Mapping[str, Any], docs: Path = DOCS) -> None:
    """Put table and plot of these figures into the docs, in the place of the former ones."""
    page = docs / "benchmarks.md"
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, found, after = rest.partition(_END)
    if not found:
        raise ValueError(f"{page} has no place for the table: {_BEGIN} … {_END}")
    told = f"{sentences(figures)}\n\n{table(figures)}\n\n![Events per second of every engine](streams.svg)"
    page.write_text(f"{before}{_BEGIN}\n{told}\n{_END}{after}", encoding="utf-8")
    plot(figures, docs / "streams.svg")


def _rounds(count: int) -> str:
    return "one round" if count == 1 else f"{count} interleaved rounds"


def _ranked(figures: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return sorted(figures["engines"].items(), key=lambda item: -(item[1]["median"] or 0))


def _colour(name: str, engine: Mapping[str, Any]) -> str:
    if name in (HEADRACE, AT_LEAST_ONCE, FLINK):
        return _OURS
    return _EXACTLY if engine["guarantee"].startswith("exactly") else _AT_LEAST


if __name__ == "__main__":
    renew(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
