"""`headrace bench ingest`: how fast, how steadily and how completely events become rows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from infra.figures import write_figures
from schemas.record import Kind

if TYPE_CHECKING:
    from rich.table import Table

SOAK_S: Final = 600.0
SOAK_WINDOW: Final = "1m"
SOAK_WARM_UP_S: Final = 90.0
"""Identities are remembered for the dedupe window, 30 bytes each: within ten minutes of a week, memory
must grow. In a soak the window is a minute, which has gone by when the measuring begins: what grows
then is a leak."""


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("ingest")(ingest)


def ingest(
    rate: Annotated[float, typer.Option(min=10.0, max=500_000.0, help="Events a second.")] = 10_000.0,
    seconds: Annotated[float, typer.Option(min=1.0, help="Measured seconds, after the warm-up.")] = 60.0,
    soak: Annotated[
        bool,
        typer.Option(
            "--soak", help="Ten minutes, to see whether memory stays flat; ids are remembered for a minute."
        ),
    ] = False,
    warm_up: Annotated[
        float, typer.Option(min=0.0, help="Seconds at the same rate before; at least 90 with --soak.")
    ] = 10.0,
    kind: Annotated[Kind, typer.Option(help="What the events are.")] = Kind.SENSOR,
    home: Annotated[
        Path, typer.Option(help="The run's own data folder; an earlier run's is emptied.")
    ] = Path(".headrace/bench-ingest"),
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
    plot: Annotated[Path | None, typer.Option(help="Draw latency and memory over time, as SVG.")] = None,
) -> None:
    """Publish at a fixed rate and measure until selectable: latency, processor time, memory, nothing lost.

    The real broker, cleaning worker, sink and ClickHouse run for it, on this machine, with the load beside.
    Exits with 1 if an event was lost or doubled.
    """
    from rich.console import Console

    from infra.bench.ingest.plan import IngestPlan
    from infra.bench.ingest.run import execute
    from infra.runtime import log

    log.configure("bench", level="error")
    console = Console(stderr=json == "-", highlight=False)
    plan = IngestPlan(
        home=home.absolute(),
        rate=rate,
        seconds=SOAK_S if soak else seconds,
        warm_up_s=max(warm_up, SOAK_WARM_UP_S) if soak else warm_up,
        kind=kind,
        dedupe_window=SOAK_WINDOW if soak else "7d",
    )
    figures = execute(plan, console.print)
    console.print(_table(figures))
    if plot is not None:
        from infra.bench.ingest.plot import write

        write(figures, plot)
    write_figures(figures, json)
    if figures["lost"] or figures["doubled"] or figures["not_acknowledged"]:
        raise typer.Exit(1)


def _table(figures: dict[str, Any]) -> "Table":
    """Lay the figures out for people."""
    from rich.table import Table

    table = Table(title="produce to selectable", show_header=False)
    latency, memory = figures["selectable_ms"], figures["rss_bytes"]
    table.add_row("published", f"{figures['sent']} ({figures['rate']:.0f} a second)")
    table.add_row("selectable", f"{figures['rows']} ({figures['events_per_s']:.0f} a second)")
    table.add_row("lost, doubled", f"{figures['lost']}, {figures['doubled']}")
    table.add_row("latency", " · ".join(f"{name} {value:.0f} ms" for name, value in latency.items()))
    table.add_row(
        "memory", f"{memory['first'] / 2**20:.0f} MiB at first, {memory['last'] / 2**20:.0f} MiB at last"
    )
    table.add_row("load behind its schedule", f"{figures['load']['late_ms']:.0f} ms at most")
    table.add_section()
    for name, share in sorted(figures["cpu"].items(), key=lambda item: -item[1]):
        rss = memory["by_process"].get(name, {})
        per = figures["cpu_ms_per_1000_events"][name]
        sizes = f"{rss.get('first', 0) / 2**20:.0f} to {rss.get('last', 0) / 2**20:.0f} MiB"
        table.add_row(name, f"{share:.2f} cores · {per:.1f} ms per 1,000 events · {sizes}")
    return table
