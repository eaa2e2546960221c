"""A local Flink cluster's processes: consumes its shape and ports, produces them as supervised specs.

A JobManager that is killed finds its jobs again only where they are written down outside of it. Flink's
stores for that are Kubernetes and ZooKeeper; ZooKeeper is in Flink's own distribution, so one node of it
runs beside.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from infra.flink.jars import KAFKA_CONNECTOR, ensure_jar
from infra.flink.layout import QUICK_START, Layout, flink_package, lay_out, local_settings, require_java
from infra.local.ports import LOOPBACK, is_free
from infra.local.process import ProcessSpec

PORTS: Final = ("zookeeper", "jobmanager", "rest", "metrics")
"""What a cluster listens on that must stay the same over a restart of one process."""

_ZOOKEEPER: Final = "org.apache.flink.shaded.zookeeper3.org.apache.zookeeper.server.quorum.QuorumPeerMain"
RECOVERY: Final[Mapping[str, str]] = {
    # A lost TaskManager is noticed within six seconds instead of fifty.
    "heartbeat.interval": "1000",
    "heartbeat.timeout": "6000",
    # A fault that stays is tried again at growing pauses, and never given up: an operator decides that. They
    # stay short, since events wait meanwhile and faults that come one after the other are not one that stays.
    "restart-strategy.type": "exponential-delay",
    "restart-strategy.exponential-delay.initial-backoff": "1 s",
    "restart-strategy.exponential-delay.max-backoff": "5 s",
    "restart-strategy.exponential-delay.reset-backoff-threshold": "30 s",
}
"""How soon a fault is noticed, and what follows."""

_STORE: Final[Mapping[str, str]] = {
    "high-availability.type": "zookeeper",
    "high-availability.cluster-id": "/headrace",
    "zookeeper.sasl.disable": "true",
    "high-availability.zookeeper.client.session-timeout": "6000",
}


@dataclass(frozen=True)
class Shape:
    """How large a local cluster is.

    Attributes:
        taskmanagers: processes that run tasks.
        slots: parallel tasks in each.
        jobmanager_mb: memory of the JobManager's whole process.
        taskmanager_mb: memory of a TaskManager's whole process; its Python workers come on top.
    """

    taskmanagers: int = 1
    slots: int = 2
    jobmanager_mb: int = 1024
    taskmanager_mb: int = 1728

    @property
    def task_slots(self) -> int:
        """All parallel tasks together."""
        return self.taskmanagers * self.slots


def cluster_settings(layout: Layout, shape: Shape, ports: Mapping[str, int]) -> dict[str, str]:
    """Return Flink's settings for a cluster of this shape; `ports` holds one for each of `PORTS`."""
    return {
        **local_settings(layout),
        "jobmanager.memory.process.size": f"{shape.jobmanager_mb}m",
        "taskmanager.memory.process.size": f"{shape.taskmanager_mb}m",
        "taskmanager.numberOfTaskSlots": str(shape.slots),
        "rest.port": str(ports["rest"]),
        "web.refresh-interval": "500",  # how old an answer about a job may be; three seconds otherwise
        "env.java.opts.jobmanager": QUICK_START,
        **RECOVERY,
        **_STORE,
        "high-availability.zookeeper.quorum": f"{LOOPBACK}:{ports['zookeeper']}",
        "high-availability.storageDir": (layout.folder / "recovery").as_uri(),
        "high-availability.jobmanager.port": str(ports["jobmanager"]),
        # Flink's own server of metrics listens on all addresses, so they are pushed to a loopback port.
        "metrics.reporter.push.factory.class": (
            "org.apache.flink.metrics.prometheus.PrometheusPushGatewayReporterFactory"
        ),
        "metrics.reporter.push.hostUrl": f"http://{LOOPBACK}:{ports['metrics']}",
        "metrics.reporter.push.jobName": "flink",
        "metrics.reporter.push.interval": "5 s",
    }


def cluster_layout(
    folder: Path,
    shape: Shape,
    ports: Mapping[str, int],
    progress: Callable[[str], None] = lambda _line: None,
) -> Layout:
    """Lay out a cluster in `folder`; its checkpoints, savepoints and recovery data stay as they are.

    Raises:
        StackError: Flink is not installed, or its connector cannot be fetched.
    """
    layout = Layout(flink_package(), folder)
    python = next((layout.flink / "opt").glob("flink-python-*.jar"))
    lay_out(
        layout,
        cluster_settings(layout, shape, ports),
        lib=[ensure_jar(KAFKA_CONNECTOR, progress), python],
        plugins=["metrics-prometheus"],
    )
    return layout


def cluster_specs(
    layout: Layout, shape: Shape, ports: Mapping[str, int], log_of: Callable[[str], Path]
) -> list[ProcessSpec]:
    """Return the cluster's processes in starting order; each is restarted when it ends by itself.

    Raises:
        StackError: Java is missing.
    """
    address = f"http://{LOOPBACK}:{ports['rest']}"

    def spec(name: str, script: str, taskmanagers: int, *arguments: str) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            argv=layout.script(script, "start-foreground", *arguments),
            env=layout.environment(),
            log_path=log_of(name),
            ready=lambda: registered(address) >= taskmanagers,
            ready_timeout_s=90.0,
        )

    return [
        _zookeeper(layout, ports["zookeeper"], log_of("zookeeper")),
        spec("jobmanager", "jobmanager.sh", 0),
        # Under a name of its own a restarted TaskManager takes its predecessor's place at once: the
        # JobManager need not wait until the heartbeats of a dead one are missed.
        *(
            spec(name, "taskmanager.sh", n, "-D", f"taskmanager.resource-id={name}")
            for n, name in enumerate(_taskmanagers(shape), start=1)
        ),
    ]


def _taskmanagers(shape: Shape) -> list[str]:
    return [f"taskmanager-{n}" for n in range(1, shape.taskmanagers + 1)]


def registered(address: str) -> int:
    """Return how many TaskManagers a cluster has, -1 while it does not answer."""
    try:
        answer = httpx.get(f"{address}/overview", timeout=0.4, trust_env=False)
        return int(answer.json()["taskmanagers"]) if answer.status_code == 200 else -1
    except (httpx.HTTPError, KeyError, ValueError):
        return -1


def _zookeeper(layout: Layout, port: int, log_path: Path) -> ProcessSpec:
    """Run ZooKeeper by Java itself: Flink's script for it would stay between the supervisor and Java."""
    data = layout.folder / "zookeeper"
    data.mkdir(exist_ok=True)
    settings = {
        "tickTime": 1000,
        "dataDir": str(data),
        "clientPort": port,
        "clientPortAddress": LOOPBACK,
        "admin.enableServer": "false",
        "autopurge.snapRetainCount": 3,
        "autopurge.purgeInterval": 1,
    }
    conf = layout.conf / "zoo.cfg"
    conf.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
    argv = [require_java(), "-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    argv += ["-Dzookeeper.preAllocSize=1024", "-Dzookeeper.jmx.log4j.disable=true"]  # KiB, not 64 MiB a start
    argv += [f"-Dlog4j2.configurationFile={layout.conf / 'log4j.properties'}", "-cp", f"{layout.lib}/*"]
    return ProcessSpec(
        name="zookeeper",
        argv=[*argv, _ZOOKEEPER, str(conf)],
        log_path=log_path,
        ready=lambda: not is_free(port),
    )
