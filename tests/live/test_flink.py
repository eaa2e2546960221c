"""`headrace flink` on a real cluster: up, a job through its life, killed processes, down; nothing is left."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from infra.local.home import is_alive
from tests.waiting import eventually

pytestmark = pytest.mark.live

BACK_WITHIN_S = 40.0
PROMETHEUS = Path(__file__).parents[2] / "infra" / "prometheus"
OF_KAFKA_SOURCES = "flink_taskmanager_job_task_operator_pendingRecords"
"""What the probe, which reads no topic, does not have: `test_flink_moves` looks for it."""


def headrace(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the group as a user does."""
    argv = [sys.executable, "-m", "infra.cli", "flink", *words, "--home", str(home)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=110, check=False)


def told(home: Path, *words: str) -> Any:
    """Run a command that must succeed, and return its JSON."""
    done = headrace(home, *words, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data folder of one cluster for all tests of this module, which are one story and run in order."""
    folder = tmp_path_factory.mktemp("flink")
    record = told(folder, "up")
    assert record["state"] == "ready"
    yield folder
    headrace(folder, "down")


def job_of(home: Path) -> dict[str, Any]:
    """Return the job as `status` shows it."""
    (job,) = [job for job in told(home, "status")["jobs"] if job["job"] == "probe"]
    return dict(job)


def process(home: Path, name: str) -> dict[str, Any]:
    """Return a process of the supervisor's record."""
    record = json.loads((home / "flink" / "stack.json").read_text())
    return next(dict(process) for process in record["processes"] if process["name"] == name)


def address(home: Path) -> str:
    """Return the cluster's REST address."""
    return str(json.loads((home / "flink" / "stack.json").read_text())["address"])


def restored(home: Path, job: str) -> dict[str, Any]:
    """Return where a job went on from last, and when; nothing while it has not, or the cluster is away."""
    try:
        found = httpx.get(f"{address(home)}/jobs/{job}/checkpoints", timeout=1.0).json()
        return dict(found["latest"]["restored"] or {})
    except (httpx.HTTPError, KeyError, ValueError):
        return {}


def all_run(home: Path, job: str) -> bool:
    """Tell whether a job and all its tasks run now; False too while the JobManager is away."""
    try:
        found = httpx.get(f"{address(home)}/jobs/{job}", timeout=1.0).json()
        return found["state"] == "RUNNING" and {v["status"] for v in found["vertices"]} == {"RUNNING"}
    except (httpx.HTTPError, KeyError, ValueError):
        return False


def test_everything_listens_on_loopback_alone(home: Path) -> None:
    """No process of the cluster can be reached from another machine, before a job brings Python workers.

    Beam, which Flink runs those with, opens a port on all addresses beside each, and has no setting for it.
    """
    record = json.loads((home / "flink" / "stack.json").read_text())
    for pid in [record["supervisor_pid"], *(process["pid"] for process in record["processes"])]:
        for found in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            listening = {
                connection.laddr.ip
                for connection in found.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }
            assert listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}, found.cmdline()[:3]


def test_a_job_runs_and_its_checkpoints_are_shown(home: Path) -> None:
    """`run` returns a job whose tasks run in Python workers, and `status` sees its first checkpoint."""
    job = told(home, "run", "probe", "--parallelism", "2")["id"]
    eventually(lambda: job_of(home)["checkpoint"], 30.0)
    seen = job_of(home)
    assert (seen["id"], seen["state"], seen["parallelism"]) == (job, "RUNNING", 2)
    assert seen["checkpoint"]["size_bytes"] > 0
    assert seen["checkpoint"]["duration_ms"] < 10_000
    again = headrace(home, "run", "probe")
    assert again.returncode == 1
    assert "runs already" in again.stderr


def test_a_second_cluster_in_one_folder_is_refused(home: Path) -> None:
    """`up` says what runs there already and what to do."""
    second = headrace(home, "up")
    assert second.returncode == 1
    assert "headrace flink down" in second.stderr


def test_a_savepoint_leaves_the_job_running(home: Path) -> None:
    """It is whole on disk, and the same job goes on; one that is stopped with it: `test_flink_moves`."""
    before = job_of(home)["id"]
    path = told(home, "savepoint", "probe")["savepoint"]
    assert Path(path.removeprefix("file:"), "_metadata").is_file()
    seen = job_of(home)
    assert (seen["id"], seen["state"]) == (before, "RUNNING")


def test_a_job_is_rescaled(home: Path) -> None:
    """One command goes from one parallelism to another, on the same state."""
    before = job_of(home)["id"]
    job = told(home, "rescale", "probe", "1")["id"]
    seen = job_of(home)
    assert (seen["id"], seen["state"], seen["parallelism"]) == (job, "RUNNING", 1)
    assert f"savepoint-{before[:6]}" in restored(home, job)["external_path"]


def test_more_than_there_are_slots_is_refused_before_anything_stops(home: Path) -> None:
    """A rescale that cannot succeed leaves the job as it is."""
    before = job_of(home)["id"]
    refused = headrace(home, "rescale", "probe", "3")
    assert refused.returncode == 1
    assert "slots" in refused.stderr
    assert job_of(home)["id"] == before


@pytest.mark.parametrize("name", ["taskmanager-1", "jobmanager"])
def test_a_killed_process_comes_back_and_the_job_goes_on(home: Path, name: str) -> None:
    """After `kill -9` the supervisor starts it again; the same job runs again from its last checkpoint."""
    job = job_of(home)["id"]
    killed, before = process(home, name), restored(home, job)["restore_timestamp"]
    os.kill(killed["pid"], signal.SIGKILL)

    def recovered() -> bool:
        """Restored once more than before, and running with all its tasks."""
        return restored(home, job).get("restore_timestamp", 0) > before and all_run(home, job)

    eventually(recovered, BACK_WITHIN_S, every_s=0.2)
    now = process(home, name)
    assert now["pid"] not in {None, killed["pid"]}
    assert now["restarts"] == 1
    assert not is_alive(killed["pid"], killed["pid_started"])


def test_metrics_of_all_processes_are_at_one_place(home: Path) -> None:
    """What the rules ask for is told by the supervisor, at the address that Prometheus finds."""
    (record,) = (home / "metrics").glob("flink-*.json")
    (target,) = json.loads(record.read_text())[0]["targets"]

    rules = "".join((PROMETHEUS / name).read_text() for name in ("alerts.yml", "recording.yml"))
    wanted = set(re.findall(r"\bflink_(?:jobmanager|taskmanager)_\w+", rules)) - {OF_KAFKA_SOURCES}

    def complete() -> bool:
        text = httpx.get(f"http://{target}/metrics").text
        return all(f"\n{name}{{" in text for name in wanted) and 'tm_id="taskmanager_1"' in text

    eventually(complete, 20.0)


def test_down_leaves_nothing_running(home: Path) -> None:
    """Every process that `up` and the job started is gone, and `status` says so."""
    record = json.loads((home / "flink" / "stack.json").read_text())
    roots = [psutil.Process(process["pid"]) for process in record["processes"]]
    everyone = [*roots, *(child for root in roots for child in root.children(recursive=True))]
    assert len(told(home, "down")["stopped"]) == 3
    eventually(lambda: not [found for found in everyone if found.is_running()])
    assert not list((home / "metrics").glob("flink-*.json"))
    after = headrace(home, "status")
    assert after.returncode == 1
    assert "headrace flink up" in after.stderr
