"""The local Kafka broker: consumes a data folder and two ports, produces a formatted node and its spec."""

import shutil
import socket
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

from infra.local.errors import StackError
from infra.local.jars import HERE, class_archive, ensure_jars
from infra.local.ports import LOOPBACK
from infra.local.process import ProcessSpec

# One node cannot replicate; few partitions of the internal topics start and recover faster.
SETTINGS: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "8",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "8",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "message.max.bytes": str(2 * 1024 * 1024),
    "num.network.threads": "2",
    "num.io.threads": "4",
    "background.threads": "2",
    "num.recovery.threads.per.data.dir": "2",
    "log.segment.bytes": str(256 * 1024 * 1024),
    # A killed broker may register again only after its old session (one that stops cleanly leaves it by
    # controlled shutdown). A shorter one would bring it back sooner, but late heartbeats of a busy machine
    # would fence a live broker.
    "broker.session.timeout.ms": "9000",
    "broker.heartbeat.interval.ms": "1000",
}


def server_properties(data: Path, port: int, controller_port: int) -> str:
    """The text of ``server.properties`` for a node that listens on loopback alone."""
    own = {
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "log.dirs": str(data / "topics"),
    }
    return "".join(f"{key}={value}\n" for key, value in {**SETTINGS, **own}.items())


def broker_spec(
    data: Path, port: int, controller_port: int, log_path: Path, *, heap_mb: int = 512
) -> ProcessSpec:
    """Write the node's settings, format its storage where that was not done, and say how to run it.

    Raises:
        StackError: no Java, no jars, or the storage could not be formatted.
    """
    jars = ensure_jars()
    data.mkdir(parents=True, exist_ok=True)
    properties = data / "server.properties"
    properties.write_text(server_properties(data, port, controller_port))
    if not (data / "topics" / "meta.properties").exists():
        _format(jars, properties)
    archive = class_archive(jars)
    sharing = (
        [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", "-Xlog:class+path=off"]
        if archive.exists()
        else []
    )
    # The first compiler alone: at 20,000 events a second the second one spares the broker 0.01 cores of 0.1,
    # after it has taken 0.05 to 0.1 cores for minutes, and 40 MB or more.
    argv = [
        *(
            _java(),
            f"-Xmx{heap_mb}m",
            f"-Xms{min(heap_mb, 256)}m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
        ),
        *sharing,
        *("-Djava.awt.headless=true", f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}"),
        *("-cp", f"{jars}/*", "kafka.Kafka", str(properties)),
    ]
    return ProcessSpec(
        name="kafka",
        argv=argv,
        log_path=log_path,
        ready=lambda: broker_answers(LOOPBACK, port),
        stop_timeout_s=20.0,
    )


def broker_answers(host: str, port: int, timeout_s: float = 0.4) -> bool:
    """Whether a broker answers a metadata request there and names itself in it, so is in its cluster."""
    # Metadata, version 1, correlation 1, client id "headrace", no topics (an empty array asks for brokers
    # alone).
    request = struct.pack(">hhih8si", 3, 1, 1, 8, b"headrace", 0)
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = b""
            while len(answer) < 12:
                part = connection.recv(4096)
                if not part:
                    return False
                answer += part
    except OSError:
        return False
    brokers = struct.unpack(">i", answer[8:12])[0]
    return bool(brokers > 0)


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise StackError("Java is missing: apt-get install -y openjdk-17-jre-headless")
    return java


def _format(jars: Path, properties: Path) -> None:
    argv = [_java(), "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]
    argv += [f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}", "kafka.tools.StorageTool", "format"]
    argv += [
        "--cluster-id",
        "aGVhZHJhY2UtbG9jYWwwMQ",
        "--config",
        str(properties),
    ]  # base64 of headrace-local01
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackError("Kafka's storage could not be formatted:\n" + (done.stdout + done.stderr)[-2000:])
