"""`headrace bench drift`: what watching costs, how often it cries falsely, how soon it tells the truth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.figures import write_figures

if TYPE_CHECKING:
    from rich.table import Table


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("drift")(drift)


def drift(
    events: Annotated[int, typer.Option(min=1000, help="Steady events for each kind and seed.")] = 1_000_000,
    rate: Annotated[
        float, typer.Option(min=1.0, help="Steady events a second, of event time; 60 s make a window.")
    ] = 1000.0,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Seeds for each kind of event.")] = 1,
    live: Annotated[
        bool, typer.Option(help="Also measure alerts in a stack of its own, under full load.")
    ] = True,
    live_rate: Annotated[float, typer.Option(min=100.0, help="Events a second of the live part.")] = 20_000.0,
    window: Annotated[
        float, typer.Option(min=1.0, help="Seconds of a drift window in the live part.")
    ] = 10.0,
    home: Annotated[
        Path, typer.Option(help="The live part's own data folder; an earlier run's is emptied.")
    ] = Path(".headrace/bench-drift"),
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
) -> None:
    """Watch steady events with all of a stream's watchers, then time alerts of real drifts under full load.

    The first part needs no services: processor time per event (with its answer and its label) and every alert
    that was raised, all of them false. The second runs broker, cleaning, sink, ClickHouse and drift worker.
    Exits with 1 if a stream's drift was missed or found before it began.
    """
    from rich.console import Console
    from rich.progress import Progress

    from infra.bench.drift.plan import DriftPlan, LivePlan
    from infra.bench.drift.run import run
    from infra.runtime import log

    log.configure("bench", level="error")
    console = Console(stderr=json == "-", highlight=False)
    plan = DriftPlan(
        events=events,
        rate=rate,
        seeds=seeds,
        live=LivePlan(home.absolute(), live_rate, window) if live else None,
    )
    with Progress(console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def progress(name: str, done: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=events)
            bars.update(tasks[name], completed=done)

        figures = run(plan, progress, console.print)
    console.print(_table(figures))
    if figures["live"]:
        console.print(_live(figures["live"]))
    write_figures(figures, json)
    if figures["live"] and (figures["live"]["missed"] or figures["live"]["false"]):
        raise typer.Exit(1)


def _table(figures: dict[str, Any]) -> "Table":
    """Lay what steady streams showed out for people."""
    from rich.table import Table

    table = Table(title="steady streams, all watchers")
    for heading in (
        "kind, seed",
        "windows",
        "event",
        "answer",
        "label",
        "µs in all",
        "per s, core",
        "alerts",
    ):
        table.add_column(heading, justify="left" if heading == "kind, seed" else "right")
    for one in figures["steady"]:
        spent = one["us_per_event"].values()
        table.add_row(
            f"{one['kind']}, {one['seed']}",
            f"{one['windows']:,}",
            *(f"{us:.2f}" for us in (*spent, sum(spent))),
            f"{one['events_per_s_per_core']:,}",
            str(len(one["alerts"])),
        )
    return table


def _live(live: dict[str, Any]) -> str:
    """Tell the live part in a few lines."""
    after = live["alert_after_window_close_s"]
    told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in after.items())
    return (
        f"live, {live['rate']:,.0f} events/s, {live['sent']:,} in all: alert after its window closed: "
        f"{told or 'none'}\n"
        f"missed {len(live['missed'])}, false {len(live['false'])}; the drift worker took "
        f"{live['cpu'].get('drift', 0.0):.2f} cores"
    )
