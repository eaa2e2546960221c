"""`headrace bench dedupe`: what remembering millions of identities costs, and how soon they are back."""

from pathlib import Path
from typing import Annotated

import typer

from infra.figures import write_figures


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("dedupe")(dedupe)


def dedupe(
    keys: Annotated[int, typer.Option(min=1000, help="How many identities lie in the window.")] = 50_000_000,
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
    home: Annotated[
        Path, typer.Option(help="The run's own data folder; an earlier run's is emptied. 35 bytes a key.")
    ] = Path(".headrace/bench-dedupe"),
    kafka: Annotated[
        str,
        typer.Option(
            envvar="HEADRACE_KAFKA", help="host:port of brokers to use; without it, one of its own."
        ),
    ] = "",
) -> None:
    """Show what the memory of duplicates costs: bytes, microseconds, pauses, and the time to recover.

    A child process, made of the worker's own classes, takes in batches of 2,000 identities over a whole
    window (7 days of simulated time, two partitions), writes dedupe.log to a real Kafka and the snapshot to
    disk, and is then killed with kill -9. A second one recovers from snapshot and log and goes on for a
    window, so that everything expires under traffic; a third recovers from the log alone. Known and unknown
    identities are looked up in all three.

    insert is what an accepted event costs, growth of the table included; lookup what any event costs; a pause
    is the longest single call, by the wall clock (longest_pause_cpu_ms: by the processor's, which other
    processes on the machine cannot lengthen). rss is the whole process at its highest.

    Exit status 1 if any answer was wrong or any identity did not come back.

    A look that takes half a minute: headrace bench dedupe --keys 1000000
    """
    from infra.bench.dedupe.figures import report, right
    from infra.bench.dedupe.run import Trial, measure

    figures = measure(
        Trial(keys, home, kafka), lambda line: typer.echo(typer.style(line, dim=True), err=True)
    )
    typer.echo(report(figures), err=json == "-")
    write_figures(figures, json)
    raise typer.Exit(0 if right(figures) else 1)
