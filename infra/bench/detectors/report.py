"""The detector benchmark's figures as Markdown: consumes what was measured, produces a table a family."""

from typing import Any


def markdown(figures: dict[str, Any]) -> str:
    """Return a table for each family of streams, and one of speed."""
    parts = []
    for family, by_detector in figures["families"].items():
        rows = [
            "| detector | found | missed | false | mean delay | 95 % |",
            "|---|--:|--:|--:|--:|--:|",
            *(_row(name, result) for name, result in by_detector.items()),
        ]
        labels = next(iter(by_detector.values()))["labels"]
        parts.append(f"**{family}** ({labels:,} labels without a rise)\n\n" + "\n".join(rows))
    speed = ["| detector | updates a second |", "|---|--:|"]
    speed += [f"| {name} | {value:,.0f} |" for name, value in figures["updates_per_s"].items()]
    parts.append("**Speed**, a call a label, one core\n\n" + "\n".join(speed))
    return "\n\n".join(parts) + "\n"


def _row(name: str, result: dict[str, Any]) -> str:
    mean, late = (_number(result[key]) for key in ("mean_delay", "p95_delay"))
    if result["found"] + result["missed"] == 0:
        return f"| {name} |  |  | {result['false']} |  |  |"
    return f"| {name} | {result['found']} | {result['missed']} | {result['false']} | {mean} | {late} |"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"
