"""The local Redis: consumes a data folder and a port, produces its process spec."""

import shutil
import socket
from pathlib import Path

from infra.local.errors import StackError
from infra.local.ports import LOOPBACK
from infra.local.process import ProcessSpec


def cache_conf(data: Path, port: int) -> str:
    """The text of ``redis.conf``: loopback alone, every write in the append-only file."""
    settings = {
        "bind": LOOPBACK,
        "port": port,
        "protected-mode": "yes",
        "daemonize": "no",
        "dir": f'"{data}"',
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',  # the append-only file is the one copy; snapshots beside it would only cost
        "logfile": '""',  # standard output, which the supervisor writes to log/redis.log
        "loglevel": "notice",
        "databases": 16,
    }
    return "".join(f"{key} {value}\n" for key, value in settings.items())


def cache_spec(data: Path, port: int, log_path: Path) -> ProcessSpec:
    """Write ``redis.conf`` and say how to run it.

    Raises:
        StackError: redis-server is not installed.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise StackError("Redis is missing: apt-get install -y redis-server")
    data.mkdir(parents=True, exist_ok=True)
    conf = data / "redis.conf"
    conf.write_text(cache_conf(data, port))
    return ProcessSpec(
        name="redis",
        argv=[program, str(conf)],
        log_path=log_path,
        ready=lambda: cache_answers(LOOPBACK, port),
    )


def cache_answers(host: str, port: int, timeout_s: float = 0.4) -> bool:
    """Whether Redis answers there and is done loading (an answer that asks for a password counts)."""
    try:
        with socket.create_connection((host, port), timeout=timeout_s) as connection:
            connection.sendall(b"PING\r\n")
            answer = connection.recv(64)
    except OSError:
        return False
    return answer.startswith((b"+PONG", b"-NOAUTH"))
