"""`headrace bench swap`: models are swapped under full load, and every answer is checked."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.bench.swap.plan import Family
from infra.figures import write_figures

if TYPE_CHECKING:
    from rich.table import Table


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("swap")(swap)


def swap(
    swaps: Annotated[int, typer.Option(min=1, max=100_000, help="How many.")] = 100,
    bad: Annotated[
        int, typer.Option(min=0, max=10_000, help="Releases after that which must be rejected.")
    ] = 50,
    family: Annotated[
        Family, typer.Option(help="text: MiniLM with a head; sensor: a small network.")
    ] = Family.TEXT,
    rate: Annotated[
        float, typer.Option(min=0.0, help="Events a second; 0: seven tenths of what the worker bears.")
    ] = 0.0,
    steady: Annotated[float, typer.Option(min=1.0, help="Seconds that are measured without a swap.")] = 20.0,
    home: Annotated[Path, typer.Option(help="Its own data folder; an earlier run's is emptied.")] = Path(
        ".headrace/bench-swap"
    ),
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
) -> None:
    """Swap between two models while events come, and show that nobody notices.

    A real broker and the serving worker as `headrace up` runs it. Every event
    must be answered once, by the version that the swap ledger names for its
    offset, with a label that only this version has. No two texts are the same,
    so that the cache answers none. Then releases are announced that must not
    serve: corrupt, tampered, of another shape, NaN, without a file, too big for
    memory, slower than the budget, outside the store and more.

    Exits with 1 if an event was lost, doubled, answered by the wrong version or
    refused, a swap failed, or a bad release was not rejected.
    """
    from rich.console import Console

    from infra.bench.swap.plan import SwapPlan
    from infra.bench.swap.run import execute
    from infra.runtime import log

    log.configure("bench", level="error")
    console = Console(stderr=json == "-", highlight=False)
    plan = SwapPlan(home.absolute(), swaps=swaps, bad=bad, family=family, rate=rate, steady_s=steady)
    figures = execute(plan, console.print)
    console.print(_table(figures))
    write_figures(figures, json)
    faults = any(figures[name] for name in ("failed", "lost", "doubled", "mixed"))
    if faults or figures["bad"]["rejected"] < figures["bad"]["pushed"]:
        raise typer.Exit(1)


def _table(figures: dict[str, Any]) -> "Table":
    """Lay the figures out for people."""
    from rich.table import Table

    title = f"{figures['swaps']} swaps, {figures['family']}, {figures['rate']:g} events/s"
    table = Table(title=title)
    for name in ("", "events", "p50 (ms)", "p99 (ms)", "longest (ms)"):
        table.add_column(name, justify="right")
    for name in figures["p99_ms"]:
        table.add_row(
            name, *(str(figures[key][name]) for key in ("events", "p50_ms", "p99_ms", "max_ms"))
        )  # fmt: skip
    counts = ", ".join(f"{name} {figures[name]}" for name in ("failed", "lost", "doubled", "mixed"))
    counts += f", bad releases rejected {figures['bad']['rejected']} of {figures['bad']['pushed']}"
    table.caption = f"{counts}; a model is loaded in {figures['load_ms']['p50']:g} ms"
    return table
