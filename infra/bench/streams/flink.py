"""A Flink cluster for one measurement: consumes Flink's pip package and two jars, produces its processes.

One JobManager and one TaskManager with two slots: a JVM engine uses both cores with two parallel tasks, as a
Python one cannot. The job is plain SQL, submitted by Flink's own SQL client.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from infra.bench.streams.environments import Say, environment
from infra.flink.jars import KAFKA_CONNECTOR, SQL_GATEWAY, ensure_jar
from infra.flink.layout import Layout, lay_out, local_settings
from infra.local.ports import PortLease, lease_port
from infra.local.process import ProcessSpec

_JOB: Final = Path(__file__).with_name("peers") / "flink_job.sql"
_SETTINGS: Final[Mapping[str, str]] = {
    "jobmanager.memory.process.size": "1024m",
    "taskmanager.numberOfTaskSlots": "2",
    "taskmanager.memory.process.size": "2560m",
}


@dataclass(frozen=True)
class Cluster:
    """The cluster's processes and the client that submits the job, in starting order, and its ports."""

    processes: Sequence[ProcessSpec]
    leases: Sequence[PortLease]


def cluster(folder: Path, values: Mapping[str, str], environments: Path, say: Say) -> Cluster:
    """Lay out a cluster in `folder`; `values` fill the places of the job's SQL.

    Raises:
        StackError: Flink or its other jars cannot be fetched.
    """
    (flink,) = (environment("flink", environments, say).parent).glob("lib/python*/site-packages/pyflink")
    rpc, rest = lease_port(), lease_port()
    url = f"http://127.0.0.1:{rest.port}"
    ports = {"jobmanager.rpc.port": str(rpc.port), "rest.port": str(rest.port)}
    layout = Layout(flink, folder)
    lay_out(
        layout,
        {**local_settings(layout), **_SETTINGS, **ports},
        lib=[ensure_jar(KAFKA_CONNECTOR, say)],
        opt=[ensure_jar(SQL_GATEWAY, say)],
    )
    job = folder / "job.sql"
    job.write_text(string.Template(_JOB.read_text(encoding="utf-8")).substitute(values), encoding="utf-8")

    def spec(name: str, script: str, *arguments: str, slots: int | None = None) -> ProcessSpec:
        return ProcessSpec(
            name=f"flink-{name}",
            argv=layout.script(script, *arguments),
            env=layout.environment(),
            log_path=folder / f"{name}.log",
            restart=False,
            ready=None if slots is None else lambda: _slots(url) >= slots,
            ready_timeout_s=90.0,
        )

    return Cluster(
        (
            spec("jobmanager", "jobmanager.sh", "start-foreground", slots=0),
            spec("taskmanager", "taskmanager.sh", "start-foreground", slots=2),
            spec("client", "sql-client.sh", "embedded", "-f", str(job)),
        ),
        (rpc, rest),
    )


def _slots(url: str) -> int:
    """Return how many task slots the cluster offers, -1 while it does not answer."""
    try:
        answer = httpx.get(f"{url}/overview", timeout=0.4, trust_env=False)
        return int(answer.json()["slots-total"]) if answer.status_code == 200 else -1
    except (httpx.HTTPError, KeyError, ValueError):
        return -1
