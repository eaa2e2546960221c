"""`headrace flink take-over`, `give-back`: the cleaning stage moves between Faust and Flink; orders in."""

import asyncio
import os
from pathlib import Path
from typing import Annotated, Final

import typer

from infra.cli.flink_options import Address, JsonOption, Parallelism, Within, tell, teller, topics_of
from infra.cli.stack import DEFAULT_HOME, HomeOption
from infra.runtime.settings import Settings

JOB: Final = "clean"
"""The job that does what workers of ours do too."""


def register(group: typer.Typer) -> None:
    """Add the commands to the group."""
    group.command("take-over")(take_over)
    group.command("give-back")(give_back)


def refuse_beside_workers(home: Path, job: str = JOB) -> None:
    """Refuse to run a job that cleans where Faust workers clean the same events.

    Raises:
        FlinkError: some do.
    """
    from infra.flink import group
    from infra.flink.errors import FlinkError

    if found := asyncio.run(group.members(_settings(home))):
        then = "" if job == JOB else f", where `headrace flink stop {JOB}` makes room for {job}"
        raise FlinkError(
            f"Faust workers clean ({', '.join(found)}): `headrace flink take-over` moves it to Flink{then}"
        )


def take_over(
    *,
    parallelism: Parallelism = 1,
    checkpoint_ms: Annotated[int, typer.Option(min=100, help="Between two checkpoints.")] = 1_000,
    home: HomeOption = DEFAULT_HOME,
    address: Address = "",
    as_json: JsonOption = False,
) -> None:
    """Stop the Faust workers that clean, and let the Flink job go on where they ended.

    No event is lost or cleaned twice; meanwhile events wait in Kafka. The choice stays over `headrace down`
    and `up`. Workers that `headrace up` does not run have to be stopped by whoever runs them.

        headrace flink take-over --parallelism 2
    """
    from infra.flink import control, handover

    found = handover.take_over(
        control.cluster_of(home, address),
        _settings(home),
        handover.LocalWorkers(home),
        parallelism=parallelism,
        arguments=["--checkpoint-ms", str(checkpoint_ms), *topics_of(home, "", "")],
        say=teller(as_json),
    )
    told = f"Flink cleans, as job {found.job}\nnext: headrace flink status · headrace flink give-back"
    tell(as_json, {"engine": "flink", "id": found.job, "parallelism": parallelism}, told)


def give_back(
    within: Within = 120.0,
    home: HomeOption = DEFAULT_HOME,
    address: Address = "",
    as_json: JsonOption = False,
) -> None:
    """Stop the Flink job with a savepoint, and let the Faust workers go on from its positions.

    What is paused stays paused, and waits on `events.parked` then.

    headrace flink give-back
    """
    from infra.flink import control, handover

    cluster = control.cluster_of(home, address)
    workers = handover.LocalWorkers(home)
    handover.give_back(cluster, _settings(home), workers, within_s=within, say=teller(as_json))
    tell(as_json, {"engine": "faust"}, "Faust cleans\nnext: headrace status")


def _settings(home: Path) -> Settings:
    from infra.runtime.settings import load

    return load({**os.environ, "HEADRACE_HOME": str(home)})
