"""Moves the cleaning stage between engines: Faust's workers stop and the Flink job starts, or the other way.

Two things must go over whole: the positions in the input, and what was cleaned already. The second lies in
`dedupe.log`, which both engines write in the transactions of their outputs and read when they begin. The
first are the group's offsets: a worker's are in its transactions too; a job's are those of the savepoint that
it was stopped with. In between nobody cleans, and events wait in Kafka. What is paused stays so: its events
wait on `events.parked`, which both engines read.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from infra.flink import control, group
from infra.flink.control import Cluster
from infra.flink.errors import FlinkError
from infra.flink.jobs import MODULES, Run
from infra.flink.rest import Rest
from infra.flink.savepoints import source_positions
from infra.local.cleaning import Engine, choose, engine_of
from infra.local.errors import NotRunningError
from infra.local.home import Home, running_record
from infra.runtime.settings import Settings
from schemas.errors import HeadraceError

JOB: Final = "clean"
_LEFT_WITHIN_S: Final = 30.0
_BACK_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.05

Say = Callable[[str], None]


class Workers(Protocol):
    """The Faust workers of the cleaning stage, wherever they run."""

    def stop(self) -> None:
        """Let them finish what they have in hand and end; nothing starts them again."""
        ...

    def start(self) -> None:
        """Run them again."""
        ...


class LocalWorkers:
    """The worker of `headrace up` in a data folder; while no stack runs there, only the choice is kept."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def stop(self) -> None:
        """Choose Flink, and wait until the supervisor has stopped the worker."""
        choose(self._home, Engine.FLINK)
        self._wait(lambda state: state in {None, "stopped", "failed"})

    def start(self) -> None:
        """Choose Faust, and wait until the supervisor has started the worker."""
        choose(self._home, Engine.FAUST)
        self._wait(lambda state: state == "running")

    def _wait(self, reached: Callable[[str | None], bool]) -> None:
        deadline = time.monotonic() + _LEFT_WITHIN_S
        place = Home(self._home.absolute())
        while True:
            try:
                processes = running_record(place)["processes"]
            except NotRunningError:
                return
            state = next((seen["state"] for seen in processes if seen["name"] == "streams"), None)
            if reached(state):
                return
            if time.monotonic() > deadline:
                raise FlinkError(
                    f"the streams worker is {state} after {_LEFT_WITHIN_S:.0f} s: headrace status"
                )
            time.sleep(_POLL_S)


def take_over(
    cluster: Cluster,
    settings: Settings,
    workers: Workers,
    *,
    name: str = JOB,
    parallelism: int,
    arguments: Sequence[str],
    say: Say = lambda _line: None,
) -> Run:
    """Stop the workers and let the Flink job go on where they ended; returns it once all its tasks run.

    Raises:
        FlinkError: it runs already or is to go on from a savepoint, or slots are missing (nothing was
            changed); or the job did not start, or workers elsewhere did not stop (those stopped here were
            started again).
    """
    _refuse_taken_over(cluster, name)
    control.refuse(cluster, name, parallelism)
    before = _job(cluster, name)
    workers.stop()
    say("the workers have stopped")
    try:
        asyncio.run(group.wait_members(settings, present=False, within_s=_LEFT_WITHIN_S))
        asyncio.run(group.fence(settings))
        return control.run(cluster, name, MODULES[JOB], parallelism, arguments)
    except HeadraceError as error:
        if _job(cluster, name) != before and _has_committed(cluster, name):
            raise FlinkError(
                f"{error}. It had committed events by then, so the workers were not started: see `headrace"
                f" flink status`; `headrace flink run {name} --from-savepoint PATH` goes on from a checkpoint"
            ) from error
        workers.start()
        raise FlinkError(f"{error}. The workers clean again") from error


def give_back(
    cluster: Cluster,
    settings: Settings,
    workers: Workers,
    *,
    name: str = JOB,
    within_s: float = 120.0,
    say: Say = lambda _line: None,
) -> None:
    """Stop the job with a savepoint, and let the workers go on from its positions.

    What waits in it for the end of a pause goes to `events.parked`, from where the workers take it.

    Raises:
        FlinkError: it does not run (nothing was changed), or the savepoint failed (the job goes on); or its
            positions could not be taken over (the message says how to go on with the job).
    """
    _refuse_without_job(cluster, name)
    path = control.stop(cluster, name, "", within_s, drain=True)
    say(f"the job has stopped with savepoint {path}")
    try:
        positions = source_positions(path)
        asyncio.run(group.wait_settled(settings, _LEFT_WITHIN_S))
        asyncio.run(group.commit(settings, positions))
    except HeadraceError as error:
        raise FlinkError(
            f"{error}. The workers were not started: `headrace flink run {name} --from-savepoint last` goes"
            " on with the job"
        ) from error
    # From here on the savepoint is of the past: to go on from it would clean a second time.
    control.forget_savepoint(cluster, name)
    workers.start()
    asyncio.run(group.wait_members(settings, present=True, within_s=_BACK_WITHIN_S))
    say("the workers clean")


def _refuse_taken_over(cluster: Cluster, name: str) -> None:
    """Refuse where Flink cleans, or was stopped with a savepoint, which alone says up to where it cleaned.

    Where neither is so, the choice alone says nothing: a take-over that was cut short can be made again.

    Raises:
        FlinkError: that is so.
    """
    if job := control.running_job(cluster, name):
        raise FlinkError(f"{name} runs already, as job {job}: `headrace flink give-back` moves it to Faust")
    if engine_of(cluster.home) is Engine.FLINK and _has_savepoint(cluster, name):
        raise FlinkError(
            f"Flink cleans here, and {name} was stopped with a savepoint: `headrace flink run {name}"
            " --from-savepoint last` goes on from it"
        )


def _refuse_without_job(cluster: Cluster, name: str) -> None:
    """Refuse where no job runs that could be given back.

    Raises:
        FlinkError: none does.
    """
    if control.running_job(cluster, name):
        return
    if engine_of(cluster.home) is Engine.FAUST:
        raise FlinkError(f"{name} does not run, and Faust cleans already: see `headrace status`")
    last = " --from-savepoint last" if _has_savepoint(cluster, name) else ""
    raise FlinkError(
        f"{name} does not run, though Flink is to clean here: `headrace flink run {name}{last}` lets it go"
        " on, and then it can be given back"
    )


def _has_savepoint(cluster: Cluster, name: str) -> bool:
    """Tell whether the job was stopped with a savepoint that nothing went on from yet."""
    known = cluster.runs.all().get(name)
    return known is not None and bool(known.savepoint)


def _job(cluster: Cluster, name: str) -> str:
    """Return Flink's id of the job's last run, empty where there was none."""
    known = cluster.runs.all().get(name)
    return known.job if known is not None else ""


def _has_committed(cluster: Cluster, name: str) -> bool:
    """Tell whether a job that did not start well completed a checkpoint all the same."""
    job = _job(cluster, name)
    with Rest(cluster.address) as rest:
        state = rest.states().get(job)
        return state is not None and rest.job(job, state).checkpoint is not None
