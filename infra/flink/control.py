"""Orders to a cluster: consumes a job's name, produces running, saved, stopped or rescaled jobs."""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from infra.flink.errors import FlinkError
from infra.flink.jobs import Run, Runs
from infra.flink.rest import ENDED, Job, Rest
from infra.flink.submit import Submission, submit
from infra.flink.supervise import place_of
from infra.local.errors import NotRunningError
from infra.local.home import running_record

_ID: Final = re.compile(r"[0-9a-f]{32}")
_STARTED_WITHIN_S: Final = 90.0
_CLEANING: Final = ("clean", "backfill")
"""The jobs that clean; beside each other neither would know what the other accepted."""

_FREED_WITHIN_S: Final = 5.0


@dataclass(frozen=True)
class Cluster:
    """Where orders go to.

    Attributes:
        home: the data folder, whose runs are remembered.
        address: the cluster's REST interface.
        local: whether it is the one of `headrace flink up` in this data folder.
    """

    home: Path
    address: str
    local: bool

    @property
    def runs(self) -> Runs:
        """What was submitted from here."""
        return Runs(place_of(self.home).root)


def cluster_of(home: Path, address: str = "") -> Cluster:
    """Return the cluster at `address`, or the local one of the data folder.

    Raises:
        FlinkError: no address was given and no local cluster runs.
    """
    place = place_of(home)
    try:
        own = str(running_record(place)["address"])
    except NotRunningError:
        if not address:
            raise FlinkError(
                f"no Flink cluster runs in {place.root}: start one with `headrace flink up`, or name another"
                " with --address"
            ) from None
        own = ""
    return Cluster(home, address or own, local=address in {"", own})


def run(
    cluster: Cluster, name: str, module: str, parallelism: int, arguments: Sequence[str], savepoint: str = ""
) -> Run:
    """Submit a job and wait until all its tasks run; `savepoint` may be `last`, what it was stopped with.

    Raises:
        FlinkError: it runs already, the cluster has too few slots, does not take it, or it fails at once.
        StackError: Flink or Java is not installed here.
    """
    refuse(cluster, name, parallelism)
    found = Run("", cluster.address, module, parallelism, tuple(arguments))
    path = _resolved(name, savepoint, cluster.runs.all().get(name))
    with Rest(cluster.address) as rest:
        return _submitted(cluster, rest, name, found, path)


def refuse(cluster: Cluster, name: str, parallelism: int) -> None:
    """Refuse a job that could not be run now.

    Raises:
        FlinkError: it runs already, or another that cleans does, or the cluster has too few slots.
    """
    if job := running_job(cluster, name):
        raise FlinkError(
            f"{name} runs already, as job {job}: `headrace flink stop {name}` first, or `headrace"
            f" flink rescale {name} N`"
        )
    for other in set(_CLEANING) - {name} if name in _CLEANING else ():
        if job := running_job(cluster, other):
            raise FlinkError(
                f"{other} runs, as job {job}, and {name} cleans the same partitions with a memory of its own:"
                f" wait until it has ended, or `headrace flink stop {other}` first"
            )
    with Rest(cluster.address) as rest:
        free = rest.free_slots(parallelism, _FREED_WITHIN_S)
    _refuse_more_than(free, "free", parallelism)


def running_job(cluster: Cluster, name: str) -> str:
    """Return Flink's id of the job's last run while the cluster runs it, else nothing.

    The id alone says which: a cluster that came back at another address runs its jobs on.
    """
    known = cluster.runs.all().get(name)
    if known is None:
        return ""
    with Rest(cluster.address) as rest:
        return known.job if _lives(rest, known.job) else ""


def savepoint(cluster: Cluster, name: str, folder: str, within_s: float) -> str:
    """Write a savepoint of a job that goes on, and return its path.

    Raises:
        FlinkError: it does not run, or the savepoint failed.
    """
    with Rest(cluster.address) as rest:
        return rest.savepoint(_running_job(cluster, rest, name), folder, within_s)


def stop(cluster: Cluster, name: str, folder: str, within_s: float, *, drain: bool = False) -> str:
    """Stop a job with a savepoint, which is remembered, and return its path.

    Drained, a job gives up what waits in it first, for another engine to take.

    Raises:
        FlinkError: it does not run, or the savepoint failed and the job goes on.
    """
    with Rest(cluster.address) as rest:
        job = _running_job(cluster, rest, name)
        path = rest.stop(job, folder, within_s, drain=drain)
    known = cluster.runs.all().get(name)
    if known is not None:
        cluster.runs.put(name, msgspec.structs.replace(known, savepoint=path))
    return path


def forget_savepoint(cluster: Cluster, name: str) -> None:
    """Let `last` no longer name what a job was stopped with, since more was cleaned than its state knows."""
    known = cluster.runs.all().get(name)
    if known is not None and known.savepoint:
        cluster.runs.put(name, msgspec.structs.replace(known, savepoint=""))


def cancel(cluster: Cluster, name: str) -> None:
    """End a job without a savepoint.

    Raises:
        FlinkError: it does not run.
    """
    with Rest(cluster.address) as rest:
        job = _running_job(cluster, rest, name)
        rest.cancel(job)
        rest.wait_ended(job, _STARTED_WITHIN_S)


def rescale(
    cluster: Cluster,
    name: str,
    parallelism: int,
    within_s: float,
    say: Callable[[str], None] = lambda _line: None,
) -> Run:
    """Stop a job with a savepoint and let it go on from there with another parallelism.

    Raises:
        FlinkError: it does not run, the cluster is too small (nothing was changed), the savepoint failed (the
            job goes on), or it did not start again (the message says with which savepoint to go on).
    """
    known = cluster.runs.get(name)
    with Rest(cluster.address) as rest:
        job = _running_job(cluster, rest, name)
        slots = sum(found["slots"] for found in rest.taskmanagers())
        _refuse_more_than(slots, "all", parallelism)
        path = rest.stop(job, "", within_s)
        cluster.runs.put(name, msgspec.structs.replace(known, savepoint=path))
        say(f"stopped with savepoint {path}")
        try:
            return _submitted(
                cluster, rest, name, msgspec.structs.replace(known, parallelism=parallelism), path
            )
        except FlinkError as error:
            raise FlinkError(
                f"{name} was stopped and does not run with parallelism {parallelism}: {error}. Nothing is"
                f" lost: `headrace flink run {name} --from-savepoint last` goes on from {path}"
            ) from error


def _submitted(cluster: Cluster, rest: Rest, name: str, wanted: Run, path: str) -> Run:
    job = Submission(wanted.module, wanted.parallelism, wanted.arguments, path)
    if cluster.local:  # another cluster has its own Python, at a path of its own
        job = replace(job, interpreter=sys.executable)
    identity = submit(place_of(cluster.home).root / "client", cluster.address, job)
    found = msgspec.structs.replace(wanted, job=identity, savepoint="")
    cluster.runs.put(name, found)
    try:
        rest.wait_running(identity, _STARTED_WITHIN_S)
    except FlinkError as error:
        cluster.runs.put(name, msgspec.structs.replace(found, savepoint=path))
        if not _lives(rest, identity):
            raise  # it ended by itself
        rest.cancel(identity)  # a job that cannot start would be tried again for ever
        raise FlinkError(f"{error}; it was cancelled") from error
    return found


def _lives(rest: Rest, job: str) -> bool:
    return rest.states().get(job, "FINISHED") not in ENDED


def _running_job(cluster: Cluster, rest: Rest, name: str) -> str:
    """Return the id of a running job that was named, or whose id was given."""
    job = name if _ID.fullmatch(name) else cluster.runs.get(name).job
    state = rest.states().get(job)
    if state is None or state in ENDED:
        told = "the cluster does not know it (any more)" if state is None else f"it is {state}"
        raise FlinkError(f"{name} does not run: {told}; see `headrace flink status`")
    return job


def _resolved(name: str, path: str, known: Run | None) -> str:
    if path != "last":
        return path
    if known is None or not known.savepoint:
        raise FlinkError(f"no savepoint of {name} is remembered here: name its path with --from-savepoint")
    return known.savepoint


def _refuse_more_than(slots: int, which: str, parallelism: int) -> None:
    if parallelism > slots:
        raise FlinkError(
            f"parallelism {parallelism} needs as many slots, and the cluster has {slots} ({which}): stop"
            " another job, or `headrace flink down` and `headrace flink up --taskmanagers N`"
        )


def jobs(cluster: Cluster) -> list[tuple[str, Job]]:
    """Return every job that the cluster knows, with the name it was run by from here, empty for others."""
    names = {run.job: name for name, run in cluster.runs.all().items()}
    with Rest(cluster.address) as rest:
        return [(names.get(job.id, ""), job) for job in rest.jobs()]
