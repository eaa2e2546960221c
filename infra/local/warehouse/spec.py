"""The local warehouse's process: consumes a data folder and a port, produces its process spec."""

import http.client
import sys
from pathlib import Path

from infra.local.ports import LOOPBACK
from infra.local.process import ProcessSpec


def warehouse_spec(data: Path, port: int, log_path: Path) -> ProcessSpec:
    """Say how to run ClickHouse on ``data`` (chDB's files, ``users.json`` when there is one)."""
    data.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "infra.local.warehouse", "--path", str(data / "store"), "--port", str(port)]
    users = data / "users.json"
    if users.exists():
        argv += ["--users", str(users)]
    return ProcessSpec(
        name="clickhouse",
        argv=argv,
        log_path=log_path,
        ready=lambda: warehouse_answers(LOOPBACK, port),
        stop_timeout_s=30.0,
    )


def warehouse_answers(host: str, port: int, timeout_s: float = 0.4) -> bool:
    """Whether ClickHouse answers ``/ping`` there."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()
