"""A Flink cluster for one measurement: consumes Flink's pip package and two jars, produces its processes.

One JobManager and one TaskManager with two slots: a JVM engine uses both cores with two parallel tasks, as a
Python one cannot. The job is plain SQL, submitted by Flink's own SQL client.
"""

import os
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from infra.bench.streams.environments import CONNECTOR, GATEWAY, Say, environment, flink_jars
from infra.local.ports import PortLease, lease_port
from infra.local.process import ProcessSpec

_JOB: Final = Path(__file__).with_name("peers") / "flink_job.sql"
_LOGGING: Final = Path(__file__).with_name("flink") / "log4j.properties"
_EXPORTS: Final = [
    f"jdk.compiler/com.sun.tools.javac.{part}" for part in ("api", "file", "parser", "tree", "util")
]
_OPENS: Final = (
    *("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent"),
    *("util.concurrent.atomic", "util.concurrent.locks"),
)
_SETTINGS: Final[Mapping[str, str]] = {
    "jobmanager.rpc.address": "127.0.0.1",
    "jobmanager.bind-host": "127.0.0.1",
    "jobmanager.memory.process.size": "1024m",
    "taskmanager.host": "127.0.0.1",
    "taskmanager.bind-host": "127.0.0.1",
    "taskmanager.numberOfTaskSlots": "2",
    "taskmanager.memory.process.size": "2560m",
    "rest.address": "127.0.0.1",
    "rest.bind-address": "127.0.0.1",
    "state.backend.type": "rocksdb",
    "execution.checkpointing.incremental": "true",
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
    fetched = flink_jars(say)
    lib = _linked(folder / "lib", [*(flink / "lib").glob("*.jar"), fetched / CONNECTOR])
    opt = _linked(folder / "opt", [*(flink / "opt").glob("*.jar"), fetched / GATEWAY])
    rpc, rest = lease_port(), lease_port()
    url = f"http://127.0.0.1:{rest.port}"
    _configure(folder, {"jobmanager.rpc.port": str(rpc.port), "rest.port": str(rest.port)})
    job = folder / "job.sql"
    job.write_text(string.Template(_JOB.read_text(encoding="utf-8")).substitute(values), encoding="utf-8")
    told = {
        "FLINK_HOME": str(flink),
        "FLINK_CONF_DIR": str(folder / "conf"),
        "FLINK_LIB_DIR": str(lib),
        "FLINK_OPT_DIR": str(opt),
        "FLINK_PLUGINS_DIR": str(folder / "plugins"),
        "FLINK_LOG_DIR": str(folder),
        "FLINK_PID_DIR": str(folder),
    }

    def spec(name: str, *argv: str, slots: int | None = None) -> ProcessSpec:
        return ProcessSpec(
            name=f"flink-{name}",
            argv=["bash", str(flink / "bin" / argv[0]), *argv[1:]],
            env=told,
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


def _linked(folder: Path, jars: Sequence[Path]) -> Path:
    folder.mkdir(parents=True)
    for jar in jars:
        (folder / jar.name).symlink_to(jar)
    return folder


def _slots(url: str) -> int:
    """Return how many task slots the cluster offers, -1 while it does not answer."""
    try:
        answer = httpx.get(f"{url}/overview", timeout=0.4, trust_env=False)
        return int(answer.json()["slots-total"]) if answer.status_code == 200 else -1
    except (httpx.HTTPError, KeyError, ValueError):
        return -1


def _modules() -> list[tuple[str, str]]:
    """Return what Flink needs of Java's modules, and how it needs it."""
    exported = ["java.rmi/sun.rmi.registry", *_EXPORTS, "java.security.jgss/sun.security.krb5"]
    opened = [f"java.base/java.{part}" for part in _OPENS] + ["java.base/sun.nio.ch"]
    return [("add-exports", name) for name in exported] + [("add-opens", name) for name in opened]


def _configure(folder: Path, ports: Mapping[str, str]) -> None:
    """Write the configuration; Java's modules are opened as Flink's own configuration does."""
    conf = folder / "conf"
    conf.mkdir()
    for log in ("log4j.properties", "log4j-console.properties", "log4j-cli.properties"):
        (conf / log).symlink_to(_LOGGING)
    own = {
        "env.java.opts.all": " ".join(f"--{kind}={name}=ALL-UNNAMED" for kind, name in _modules()),
        "io.tmp.dirs": str(folder / "tmp"),
        "execution.checkpointing.dir": (folder / "checkpoints").as_uri(),
    }
    (folder / "tmp").mkdir()
    (folder / "plugins").mkdir()
    lines = [f"{key}: {value}" for key, value in {**_SETTINGS, **own, **ports}.items()]
    (conf / "config.yaml").write_text(os.linesep.join(lines) + os.linesep, encoding="utf-8")
