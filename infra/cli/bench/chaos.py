"""`headrace bench chaos`: kills and rebalances the workers while events flow, then compares every id."""

from pathlib import Path
from typing import Annotated

import typer


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("chaos")(chaos)


def chaos(
    events: Annotated[int, typer.Option(min=100, help="Distinct events to send.")] = 300_000,
    kills: Annotated[int, typer.Option(min=0, help="How often a random worker gets kill -9.")] = 20,
    rebalances: Annotated[
        int, typer.Option(min=0, help="How often a worker joins its group, or leaves it in order.")
    ] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the events, the faults and their moments.")] = 7,
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
    home: Annotated[
        Path, typer.Option(help="The run's own data folder; an earlier chaos run's is emptied.")
    ] = Path(".headrace/chaos"),
    stall: Annotated[
        float, typer.Option(min=10.0, help="Give up when nothing has moved for so many seconds.")
    ] = 120.0,
) -> None:
    """Show that no fault of a worker loses or doubles an event.

    A stack of its own is started: Kafka, ClickHouse and Redis, and the real
    cleaning, sink and inference workers with a trained model. Events flow in,
    some of them twice (also on another partition), some of them bad.
    Meanwhile random workers get kill -9 and come back by the supervisor, and
    groups grow from one worker to three and shrink again. The moments are
    counted in events sent, so a seed gives the same run on any machine.

    When all is through, every id that the brokers acknowledged is looked up
    on `events.clean`, on `predictions` (both read committed) and in
    ClickHouse, every bad record on `events.dead`. Exit status 1 if one is
    missing or there twice, or if nothing moves any more: HOME/log then tells
    why.

    A look that takes a minute:
    headrace bench chaos --events 6000 --kills 4 --rebalances 2
    """
    from infra.bench.chaos.plan import Plan
    from infra.bench.chaos.run import execute

    plan = Plan(
        home=home.absolute(),
        events=events,
        kills=kills,
        rebalances=rebalances,
        seed=seed,
        stall_s=stall,
        json_path=json,
    )
    raise typer.Exit(execute(plan))
