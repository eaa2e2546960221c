"""Figures of `headrace bench train` as tables for people."""

from typing import Any

from rich.table import Table


def planted(figures: dict[str, Any]) -> Table:
    """Lay the counts out for people."""
    table = Table(title="planted candidates")
    table.add_column("kind")
    table.add_column("tried", justify="right")
    table.add_column("released", justify="right")
    for kind, counts in figures["kinds"].items():
        table.add_row(kind, str(counts["tried"]), str(counts["released"]))
    table.add_section()
    planted, good, undecided = figures["planted"], figures["good"], figures["undecided"]
    table.add_row("bad", str(planted["bad"]), str(planted["released"]))
    table.add_row("good, by a point or more as the gate saw it", str(good["tried"]), str(good["released"]))
    table.add_row("neither, as the gate saw it", str(undecided["tried"]), str(undecided["released"]))
    return table


def rounds(figures: dict[str, Any]) -> Table:
    """Lay the rounds out for people."""
    table = Table(title=f"drift to serving, {figures['rate']:g} requests/s", caption="seconds; median below")
    for name in ("seed", "drift → serving", "→ alert", "→ release", "→ swap", "accuracy before → after"):
        table.add_column(name, justify="right")
    table.add_column("p99 of an answer, steady → drifted → beside training (ms)", justify="right")
    for one in figures["rounds"]:
        waits = [one.prediction_ms.get(name) for name in ("steady", "drifted", "training")]
        table.add_row(
            str(one.seed),
            *(_seconds(value) for value in one.seconds.values()),
            " → ".join(_share(one.accuracy[name]) for name in ("before", "after")),
            " → ".join(f"{wait['p99']:.0f}" if wait else "–" for wait in waits),
        )
    table.add_section()
    table.add_row("", *(_seconds(value) for value in figures["seconds"].values()), "", "")
    return table


def lost(figures: dict[str, Any]) -> Table:
    """Lay out what was forgotten: mean and standard deviation over seeds, in points."""
    table = Table(title="after five increments, points of accuracy on held-out rows")
    for name in (
        "stream",
        "learnt by",
        "forgotten",
        "dropped",
        "right at the end",
        "newest",
        "released",
        "s",
    ):
        table.add_column(name, justify="left" if name in ("stream", "learnt by") else "right")
    for task, variants in figures["tasks"].items():
        for variant, found in variants.items():
            spread = (
                f"{found[name]['mean']:.2f} ± {found[name]['sd']:.2f}"
                for name in ("forgetting", "dropped", "accuracy", "newest")
            )
            released = f"{found['released']} of {found['increments']}"
            table.add_row(task, variant, *spread, released, f"{found['seconds']['mean']:.0f}")
        table.add_section()
    return table


def variants(name: str, task: dict[str, Any]) -> Table:
    """Lay out a model's variants."""
    shown = {
        "p50_ms": "p50",
        "p99_ms": "p99",
        "rows_per_s": "rows/s",
        "accuracy": "right",
        "agreement": "same",
    }
    table = Table(title=f"{name}, {task['held_out']} held-out rows; best: {task['best']}", box=None)
    for head in ("variant", "MB", *shown.values()):
        table.add_column(head, justify="left" if head == "variant" else "right")
    for variant, each in task["compression"].items():
        table.add_row(variant, f"{each['bytes'] / 1e6:.1f}", *(f"{each[key]:.4g}" for key in shown))
    return table


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
