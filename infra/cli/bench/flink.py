"""`headrace bench flink`: kills a Flink cluster's processes while events flow, then compares every id."""

from pathlib import Path
from typing import Annotated

import typer


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("flink")(flink)


def flink(
    *,
    events: Annotated[int, typer.Option(min=1000, help="Distinct events to send.")] = 2_000_000,
    taskmanager_kills: Annotated[
        int, typer.Option(min=0, help="How often the TaskManager gets kill -9.")
    ] = 10,
    jobmanager_kills: Annotated[int, typer.Option(min=0, help="How often the JobManager does.")] = 2,
    broker_kills: Annotated[int, typer.Option(min=0, help="How often the broker does.")] = 1,
    parallelism: Annotated[int, typer.Option(min=1, help="Parallel tasks of the job.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed of the events, the faults and their moments.")] = 7,
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
    home: Annotated[
        Path, typer.Option(help="The run's own data folder; an earlier run's is emptied.")
    ] = Path(".headrace/bench-flink"),
    stall: Annotated[
        float, typer.Option(min=10.0, help="Give up when nothing has moved for so many seconds.")
    ] = 120.0,
) -> None:
    """Show that no fault of a Flink cluster loses or doubles an event.

    A broker and a cluster of their own are started, with the cleaning job on
    it. Events flow in, some of them twice (also on another partition), some
    of them bad. Meanwhile TaskManager, JobManager and broker get kill -9 and
    come back by their supervisors; the JobManager finds the job in its
    high-availability store. The moments are counted in events sent.

    When the job has read everything, every id that the broker acknowledged is
    looked up on `events.clean`, every bad record on `events.dead`, both read
    committed. Exit status 1 if one is missing or there twice, or if output
    went on later than 20 s after a TaskManager's death.

    A look that takes two minutes:
    headrace bench flink --events 100000 --taskmanager-kills 1 --jobmanager-kills 1
    """
    from infra.bench.flink.plan import FlinkPlan
    from infra.bench.flink.run import execute

    plan = FlinkPlan(
        home=home.absolute(),
        events=events,
        taskmanager_kills=taskmanager_kills,
        jobmanager_kills=jobmanager_kills,
        broker_kills=broker_kills,
        parallelism=parallelism,
        seed=seed,
        stall_s=stall,
        json_path=json,
    )
    raise typer.Exit(execute(plan))
