"""`headrace bench drift`: what watching costs, how often it cries falsely, how soon it tells the truth."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    import msgspec
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
    text = msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n"
    if json == "-":
        sys.stdout.buffer.write(text)
    elif json:
        Path(json).write_bytes(text)
    if figures["live"] and (figures["live"]["missed"] or figures["live"]["false"]):
        raise typer.Exit(1)


def _table(figures: dict[str, Any]) -> "Table":
    """Lay the figures out for people."""
    from rich.table import Table

    table = Table(title="drift watch")
    for heading in ("part", "events", "windows", "µs per event", "events/s per core", "false alerts"):
        table.add_column(heading, justify="left" if heading == "part" else "right")
    for one in figures["steady"]:
        spent = one["us_per_event"]
        table.add_row(
            f"steady {one['kind']}, seed {one['seed']}",
            f"{one['events']:,}",
            f"{one['windows']:,}",
            f"{sum(spent.values()):.2f} ({' + '.join(f'{us:.2f}' for us in spent.values())})",
            f"{one['events_per_s_per_core']:,}",
            str(len(one["alerts"])),
        )
    if live := figures["live"]:
        after = live["alert_after_window_close_s"]
        told = " · ".join(f"{name} {seconds:.2f} s" for name, seconds in after.items())
        table.add_section()
        table.add_row(
            f"live, {live['rate']:,.0f}/s", f"{live['sent']:,}", "", "", "", str(len(live["false"]))
        )
        table.add_row(f"alert after its window: {told or 'none'}")
        table.add_row(f"drift worker: {live['cpu'].get('drift', 0):.2f} cores")
    return table
