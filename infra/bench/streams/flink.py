"""A Flink cluster for one measurement: consumes Flink's pip package and two jars, produces its processes.

One JobManager and one TaskManager with two slots: a JVM engine uses both cores with two parallel tasks, as a
Python one cannot. The peer's job is plain SQL, submitted by Flink's own SQL client.
"""

import string
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from infra.bench.streams.environments import Say, environment
from infra.flink.bridge import ensure_bridge
from infra.flink.jars import KAFKA_CONNECTOR, SQL_GATEWAY, ensure_jar
from infra.flink.layout import Layout, flink_package, lay_out, local_settings
from infra.flink.package import pack
from infra.flink.submit import Submission, client_argv
from infra.local.ports import PortLease, lease_port
from infra.local.process import ProcessSpec

_JOB: Final = Path(__file__).with_name("peers") / "flink_job.sql"
_JOBMANAGER_MB: Final = 1024


@dataclass(frozen=True)
class Size:
    """How many tasks run at once in the one TaskManager, and its memory in MB."""

    tasks: int = 2
    taskmanager_mb: int = 2560


USUAL: Final = Size()


@dataclass(frozen=True)
class Cluster:
    """The cluster's processes and the client that submits the job, in starting order, its ports, its REST."""

    processes: Sequence[ProcessSpec]
    leases: Sequence[PortLease]
    address: str


def cluster(folder: Path, values: Mapping[str, str], environments: Path, say: Say) -> Cluster:
    """Lay out a cluster in `folder`; `values` fill the places of the job's SQL.

    Raises:
        StackError: Flink or its other jars cannot be fetched.
    """
    (flink,) = (environment("flink", environments, say).parent).glob("lib/python*/site-packages/pyflink")
    layout = Layout(flink, folder)
    job = folder / "job.sql"

    def client(address: str) -> Sequence[str]:
        text = string.Template(_JOB.read_text(encoding="utf-8")).substitute(values)
        job.write_text(text, encoding="utf-8")
        return layout.script("sql-client.sh", "embedded", "-f", str(job))

    lib, opt = [ensure_jar(KAFKA_CONNECTOR, say)], [ensure_jar(SQL_GATEWAY, say)]
    return _cluster(layout, lib, opt, client, USUAL)


def headrace(folder: Path, arguments: Sequence[str], say: Say, size: Size = USUAL) -> Cluster:
    """Lay out a cluster of the same size for Headrace's own job, which this installation's Python runs.

    Raises:
        StackError: Flink or its connector is missing.
    """
    layout = Layout(flink_package(), folder)
    python = next((layout.flink / "opt").glob("flink-python-*.jar"))
    job = Submission("streams.jobs.clean", size.tasks, arguments, interpreter=sys.executable)

    def client(address: str) -> Sequence[str]:
        return client_argv(layout, address, pack([job.module], folder / "code"), ensure_bridge(say), job)

    return _cluster(layout, [ensure_jar(KAFKA_CONNECTOR, say), python], [], client, size)


def _cluster(
    layout: Layout,
    lib: Sequence[Path],
    opt: Sequence[Path],
    client: Callable[[str], Sequence[str]],
    size: Size,
) -> Cluster:
    """Return the processes; `client` makes the command that submits the job to an address."""
    rpc, rest = lease_port(), lease_port()
    url = f"http://127.0.0.1:{rest.port}"
    own = {
        "jobmanager.rpc.port": str(rpc.port),
        "rest.port": str(rest.port),
        "jobmanager.memory.process.size": f"{_JOBMANAGER_MB}m",
        "taskmanager.numberOfTaskSlots": str(size.tasks),
        "taskmanager.memory.process.size": f"{size.taskmanager_mb}m",
    }
    lay_out(layout, {**local_settings(layout), **own}, lib=lib, opt=opt)

    def spec(name: str, argv: Sequence[str], slots: int | None = None) -> ProcessSpec:
        return ProcessSpec(
            name=f"flink-{name}",
            argv=argv,
            env=layout.environment(),
            log_path=layout.folder / f"{name}.log",
            restart=False,
            ready=None if slots is None else lambda: _slots(url) >= slots,
            ready_timeout_s=90.0,
        )

    return Cluster(
        (
            spec("jobmanager", layout.script("jobmanager.sh", "start-foreground"), slots=0),
            spec("taskmanager", layout.script("taskmanager.sh", "start-foreground"), slots=size.tasks),
            spec("client", client(url)),
        ),
        (rpc, rest),
        url,
    )


def _slots(url: str) -> int:
    """Return how many task slots the cluster offers, -1 while it does not answer."""
    try:
        answer = httpx.get(f"{url}/overview", timeout=0.4, trust_env=False)
        return int(answer.json()["slots-total"]) if answer.status_code == 200 else -1
    except (httpx.HTTPError, KeyError, ValueError):
        return -1
