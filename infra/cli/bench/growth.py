"""`headrace bench growth`: the cleaning job by tasks and by remembered identities."""

from pathlib import Path
from typing import Annotated

import typer


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("growth")(growth)


def growth(
    *,
    keys: Annotated[str, typer.Option(help="Millions of remembered identities, with commas.")] = "1,10,50",
    tasks: Annotated[str, typer.Option(help="Parallel tasks, with commas.")] = "1,2,4",
    events: Annotated[int, typer.Option(min=10_000, help="Timed events a cell.")] = 600_000,
    partitions: Annotated[int, typer.Option(min=1, help="Of the topics; no more tasks work.")] = 4,
    home: Annotated[Path, typer.Option(help="The benchmark's own folder.")] = Path(".headrace/bench-growth"),
    page: Annotated[Path | None, typer.Option(help="Write plots and table to this HTML file.")] = None,
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
) -> None:
    """Measure how the cleaning job on Flink grows: tasks, state, checkpoints.

    For each number of identities and of tasks a cluster is started whose job
    takes the identities into its state and then cleans a backlog, exactly
    once. Every output is checked. 50 million identities take 800 MB of the
    broker's disk, and as much of Flink's, for each cell.

    A look that takes two minutes:
    headrace bench growth --keys 0.1 --tasks 1,2 --events 100000
    """
    from infra.bench.flink.growth import GrowthPlan, grow
    from infra.bench.flink.growth_page import limit, table, write
    from infra.figures import write_figures
    from infra.runtime import log

    log.configure("bench", level="critical")
    plan = GrowthPlan(
        home=home.absolute(),
        keys=[_number(part, "--keys") for part in keys.split(",")],
        tasks=[int(_number(part, "--tasks")) for part in tasks.split(",")],
        events=events,
        partitions=partitions,
    )
    figures = grow(plan, lambda line: typer.echo(line, err=True))
    if page is not None:
        write(page, figures)
    if json != "-":
        typer.echo(table(figures))
        typer.echo(limit(figures))
    if json:
        write_figures(figures, json)
    if any(cell.get("failed") or cell["lost"] or cell["doubled"] for cell in figures["cells"]):
        raise typer.Exit(1)


def _number(text: str, option: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if number <= 0:
        raise typer.BadParameter(f"{text.strip()!r} is no number above 0", param_hint=option)
    return number
