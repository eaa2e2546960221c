"""What `headrace flink status` shows: a cluster's processes, TaskManagers and jobs in, tables out."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from infra.flink import control
from infra.flink.control import Cluster
from infra.flink.rest import ENDED, Rest
from infra.flink.supervise import place_of
from infra.local.home import is_alive, read_record

_WIDTH: Final = 130
_WELL: Final = frozenset({"RUNNING", "FINISHED", "CANCELED"})


def standing(cluster: Cluster) -> dict[str, Any]:
    """Gather what the cluster says, and of a local one what its supervisor wrote down.

    A job that was run from here and neither runs nor ended as it was told is not well, nor is a process that
    does not run.

    Raises:
        FlinkError: the cluster does not answer.
    """
    processes = _processes(cluster) if cluster.local else []
    with Rest(cluster.address) as rest:
        version, taskmanagers = rest.version(), rest.taskmanagers()
    jobs = [{"job": name, **msgspec.to_builtins(job)} for name, job in control.jobs(cluster)]
    ill = [job for job in jobs if job["job"] and job["state"] not in _WELL]
    return {
        "address": cluster.address,
        "version": version,
        "healthy": not ill and all(process["state"] == "running" for process in processes),
        "processes": processes,
        "taskmanagers": taskmanagers,
        "jobs": jobs,
    }


def _processes(cluster: Cluster) -> list[dict[str, Any]]:
    record = read_record(place_of(cluster.home)) or {"processes": []}
    told = ("name", "pid", "state", "restarts", "log")
    return [
        {name: process[name] for name in told}
        | ({} if _lives(process) or process["state"] != "running" else {"state": "gone"})
        for process in record["processes"]
    ]


def _lives(process: dict[str, Any]) -> bool:
    return process["pid"] is not None and is_alive(process["pid"], process["pid_started"])


def show(found: dict[str, Any]) -> None:
    """Print it as tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=max(Console().width, _WIDTH))  # an id is to be copied whole
    console.print(f"Flink {found['version']} at {found['address']}", soft_wrap=True)
    if found["processes"]:
        processes = Table("process", "state", "pid", "restarts", box=None)
        for row in found["processes"]:
            processes.add_row(row["name"], row["state"], str(row["pid"] or "–"), str(row["restarts"]))
        console.print(processes)
    taskmanagers = Table("TaskManager", "slots", "free", "last heard", box=None)
    for row in found["taskmanagers"]:
        heard = f"{_at(row['heartbeat_ms']):%H:%M:%S}"
        taskmanagers.add_row(row["id"], str(row["slots"]), str(row["free_slots"]), heard)
    console.print(taskmanagers)
    jobs = Table("job", "state", "parallelism", "restarts", "last checkpoint", "id", box=None)
    shown = [row for row in found["jobs"] if row["job"] or row["state"] not in ENDED]
    for row in shown:
        named = row["job"] or row["name"]
        jobs.add_row(
            named, row["state"], str(row["parallelism"]), str(row["restarts"]), _checkpoint(row), row["id"]
        )
    console.print(jobs if shown else "no jobs: headrace flink run clean")
    if len(shown) < len(found["jobs"]):
        console.print(f"{len(found['jobs']) - len(shown)} earlier runs ended (--json lists them)")
    for row in shown:
        if row["state"] not in _WELL and row["cause"]:
            console.print(f"{row['job'] or row['name']}: {row['cause']}", soft_wrap=True)


def _checkpoint(row: dict[str, Any]) -> str:
    failed = f", {row['failed_checkpoints']} failed" if row["failed_checkpoints"] else ""
    last = row["checkpoint"]
    if last is None:
        return f"none{failed}"
    at = f"{_at(last['completed_ms']):%H:%M:%S}"
    return f"{at}, {last['duration_ms']} ms, {last['size_bytes'] / 2**20:.1f} MiB{failed}"


def _at(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
