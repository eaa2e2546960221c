"""`headrace flink`: a local Flink cluster, and jobs on it or another; orders in, jobs and savepoints out."""

import json
from typing import Annotated, Final

import typer

from infra.cli import flink_backfill as backfill
from infra.cli import flink_handover as handover
from infra.cli.flink_options import Address, JsonOption, Parallelism, Within, tell, teller, topics_of
from infra.cli.stack import DEFAULT_HOME, HomeOption

UP_TIMEOUT_S: Final = 180.0
DOWN_TIMEOUT_S: Final = 60.0

JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="clean, backfill, windows, or probe, which reads no topic.")
]
JobNameOrId = Annotated[str, typer.Argument(metavar="JOB", help="Its name, or Flink's id of it.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Apache Flink: the same operators on a cluster.\n\n"
        "Start here: `headrace up`, `headrace flink up`, `headrace flink run clean`.",
        no_args_is_help=True,
    )
    group.command("up")(up)
    own = {"allow_extra_args": True, "ignore_unknown_options": False}
    group.command("run", context_settings=own)(run)
    for command in (status, savepoint, stop, rescale, down):
        group.command(command.__name__)(command)
    handover.register(group)
    app.add_typer(group, name="flink")


def up(
    home: HomeOption = DEFAULT_HOME,
    taskmanagers: Annotated[int, typer.Option(min=1, help="Processes that run tasks.")] = 1,
    slots: Annotated[int, typer.Option(min=1, help="Parallel tasks in each of them.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Start a local cluster on loopback, and wait until every TaskManager has registered.

    ZooKeeper, a JobManager (1 GB) and TaskManagers (1.7 GB each, Python workers apart). A process that ends
    is started again, and jobs go on from their last checkpoint, also after `down` and `up`.

        headrace flink up --taskmanagers 2 --slots 1
    """
    import msgspec

    from infra.flink.cluster import Shape
    from infra.flink.layout import flink_package, require_java
    from infra.flink.supervise import locked, place_of
    from infra.local import detached

    flink_package()
    require_java()
    place = place_of(home)
    locked(place).release()  # says so at once when a cluster runs there
    shape = msgspec.json.encode(Shape(taskmanagers=taskmanagers, slots=slots)).decode()
    arguments = [str(home.absolute()), shape]
    record = detached.start("infra.flink.supervise", arguments, place, UP_TIMEOUT_S, teller(as_json))
    if as_json:
        typer.echo(json.dumps(record, indent=2))
        return
    typer.echo(f"{'flink':<11}{record['address']}")
    typer.echo(f"{'metrics':<11}{record['metrics']}")
    typer.echo("next: headrace flink run clean · headrace flink status · headrace flink down")


def down(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Stop the local cluster; checkpoints, savepoints and what its jobs need to go on stay."""
    from infra.flink.supervise import place_of
    from infra.local import detached
    from infra.local.errors import NotRunningError
    from infra.local.home import running_record

    place = place_of(home)
    try:
        stopped = detached.end(running_record(place), DOWN_TIMEOUT_S)
        told = "stopped " + ", ".join(stopped)
    except NotRunningError:
        stopped = detached.end_stale(place)
        told = f"nothing runs in {place.root}" + (f"; ended {stopped}" if stopped else "")
    typer.echo(json.dumps({"stopped": stopped}) if as_json else told)


def run(
    context: typer.Context,
    job: JobName,
    *,
    parallelism: Parallelism = 1,
    checkpoint_ms: Annotated[int, typer.Option(min=100, help="Between two checkpoints.")] = 1_000,
    group: Annotated[str, typer.Option(help="Kafka consumer group.", show_default="the job's own")] = "",
    transactional_prefix: Annotated[
        str, typer.Option(help="Of its Kafka transactions.", show_default="the job's own")
    ] = "",
    from_savepoint: Annotated[
        str, typer.Option(help="Go on from a savepoint's path; `last`: what it was stopped with.")
    ] = "",
    files: backfill.Files = None,
    home: HomeOption = DEFAULT_HOME,
    address: Address = "",
    as_json: JsonOption = False,
) -> None:
    """Submit a job, and wait until all its tasks run; what follows `--` goes to the job itself.

    headrace flink run clean --parallelism 2

    headrace flink run backfill -- --begin @1790000000000 --end 0:500,1:480

    headrace flink run backfill --files /mnt/archive/ --files 'more/*.jsonl.gz'

    A backfill ends by itself; nothing else may clean meanwhile.
    After it, run clean without a savepoint: its log says what was accepted.
    What was cleaned before is dropped as a duplicate.
    Lines of a file keep their order; with --parallelism 1, files too.
    """
    from infra.flink import control
    from infra.flink.jobs import PROBE, module_of

    module = module_of(job)
    cluster = control.cluster_of(home, address)
    arguments = [
        "--checkpoint-ms",
        str(checkpoint_ms),
        *(topics_of(home, group, transactional_prefix) if job != PROBE else []),
    ]
    arguments += backfill.arguments(job, files or [], context.args)
    if job == backfill.JOB or (job == handover.JOB and not group):
        handover.refuse_beside_workers(home, job)
    found = control.run(cluster, job, module, parallelism, arguments, from_savepoint)
    following = "headrace flink status"
    if job == backfill.JOB:
        control.forget_savepoint(cluster, handover.JOB)
        following += ", until it is FINISHED · headrace flink run clean"
    tell(
        as_json,
        {"job": job, "id": found.job, "parallelism": parallelism, "from_savepoint": from_savepoint},
        f"{job} runs as job {found.job}, parallelism {parallelism}\nnext: {following}",
    )


def savepoint(
    job: JobNameOrId,
    folder: Annotated[
        str, typer.Option("--to", help="A folder or URI.", show_default="the cluster's own")
    ] = "",
    within: Within = 120.0,
    home: HomeOption = DEFAULT_HOME,
    address: Address = "",
    as_json: JsonOption = False,
) -> None:
    """Write a savepoint of a running job, which goes on."""
    from infra.flink import control

    path = control.savepoint(control.cluster_of(home, address), job, folder, within)
    tell(as_json, {"job": job, "savepoint": path}, path)


def stop(
    job: JobNameOrId,
    folder: Annotated[
        str, typer.Option("--to", help="A folder or URI.", show_default="the cluster's own")
    ] = "",
    within: Within = 120.0,
    no_savepoint: Annotated[
        bool, typer.Option("--no-savepoint", help="Cancel it; the way out for one that keeps restarting.")
    ] = False,
    home: HomeOption = DEFAULT_HOME,
    address: Address = "",
    as_json: JsonOption = False,
) -> None:
    """Stop a job with a savepoint; nothing is drained, so open windows stay open in it."""
    from infra.flink import control

    if no_savepoint:
        control.cancel(control.cluster_of(home, address), job)
        tell(as_json, {"job": job, "savepoint": None}, f"cancelled {job}, without a savepoint")
        return
    path = control.stop(control.cluster_of(home, address), job, folder, within)
    told = f"stopped {job}; savepoint {path}\nnext: headrace flink run {job} --from-savepoint last"
    tell(as_json, {"job": job, "savepoint": path}, told)


def rescale(
    job: JobName,
    parallelism: Annotated[int, typer.Argument(min=1, max=128, metavar="N", help="The new parallelism.")],
    within: Within = 120.0,
    home: HomeOption = DEFAULT_HOME,
    address: Address = "",
    as_json: JsonOption = False,
) -> None:
    """Change a running job's parallelism: stop it with a savepoint, and go on from that with N.

    headrace flink rescale clean 2
    """
    from infra.flink import control

    cluster = control.cluster_of(home, address)
    found = control.rescale(cluster, job, parallelism, within, teller(as_json))
    tell(
        as_json,
        {"job": job, "id": found.job, "parallelism": parallelism},
        f"{job} runs as job {found.job}, parallelism {parallelism}",
    )


def status(home: HomeOption = DEFAULT_HOME, address: Address = "", as_json: JsonOption = False) -> None:
    """Show the cluster's processes and jobs; exits with 1 when one is down or a job does not run well."""
    from infra.cli.flink_status import show, standing
    from infra.flink import control

    found = standing(control.cluster_of(home, address))
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        show(found)
    if not found["healthy"]:
        raise typer.Exit(1)
