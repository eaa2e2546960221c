"""The data folder of a local stack: each service's data, and the record of what runs (``stack.json``)."""

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil

from infra.local.errors import AlreadyRunningError, NotRunningError
from infra.local.process import ProcessState
from infra.runtime.settings import Endpoints


@dataclass(frozen=True)
class Home:
    """Paths inside one stack's data folder."""

    root: Path

    @property
    def record(self) -> Path:
        """What runs now and where it answers."""
        return self.root / "stack.json"

    @property
    def ports(self) -> Path:
        """The ports chosen at the first start, used again while they are free."""
        return self.root / "ports.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.root / "stack.lock"

    def data(self, service: str) -> Path:
        """A service's data."""
        return self.root / service

    def log(self, name: str) -> Path:
        """A process's log file."""
        return self.root / "log" / f"{name}.log"


class HomeLock:
    """The one supervisor's claim on a data folder; it goes with the process, even with ``kill -9``."""

    def __init__(self, home: Home) -> None:
        home.root.mkdir(parents=True, exist_ok=True)
        self._fd: int | None = os.open(home.lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._fd)
            raise AlreadyRunningError(
                f"a stack runs in {home.root} already: see `headrace status`, stop it with `headrace down`"
            ) from None

    def release(self) -> None:
        """Let another supervisor have the folder."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def write_json(path: Path, value: Any) -> None:
    """Replace a file in one step: a reader sees the old text or the new, never half of it."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(value, indent=2) + "\n")
    scratch.replace(path)


def read_record(home: Home) -> dict[str, Any] | None:
    """The record as last written, which a killed supervisor leaves behind; None where there is none."""
    with suppress(FileNotFoundError):
        record: dict[str, Any] = json.loads(home.record.read_text())
        return record
    return None


def running_record(home: Home) -> dict[str, Any]:
    """The record of a stack whose supervisor lives.

    Raises:
        NotRunningError: nothing was started here, or what was has ended without cleaning up.
    """
    record = read_record(home)
    if record is None or not is_alive(record["supervisor_pid"], record["supervisor_started"]):
        raise NotRunningError(f"no stack runs in {home.root}: start it with `headrace up`")
    return record


def started_at(pid: int) -> float:
    """When a process started, in seconds since the epoch; with the pid it names a process for good."""
    return psutil.Process(pid).create_time()


def is_alive(pid: int, started: float) -> bool:
    """Whether this very process lives: after a reboot or a wrap-around the pid alone may name another."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - started) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_leftovers(record: dict[str, Any], patience_s: float = 5.0) -> list[str]:
    """End processes that a killed supervisor's record still names; returns their names.

    They die by themselves through the parent-death signal, which takes a moment; whatever does not is
    killed, since a second broker on the same data would ruin it.
    """
    left = [(p["name"], p["pid"], p["pid_started"]) for p in record.get("processes", []) if p.get("pid")]
    deadline = time.monotonic() + patience_s
    ended = []
    for name, pid, started in left:
        while is_alive(pid, started) and time.monotonic() < deadline:
            time.sleep(0.02)
        if is_alive(pid, started):
            with suppress(psutil.NoSuchProcess):  # it ended after all
                psutil.Process(pid).kill()
                psutil.Process(pid).wait(patience_s)
            ended.append(name)
    return ended


def without_password(url: str) -> str:
    """The URL with its password left out, for files and terminals."""
    parts = urlsplit(url)
    if not parts.password:
        return url
    netloc = f"{parts.username or ''}@{parts.netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=netloc))


def endpoints_of(record: dict[str, Any]) -> Endpoints:
    """The three addresses of a record; those given by the environment come from there, with their secrets."""
    env = os.environ
    return Endpoints(
        kafka=env.get("HEADRACE_KAFKA") or record["kafka"],
        redis=env.get("HEADRACE_REDIS") or record["redis"],
        clickhouse=env.get("HEADRACE_CLICKHOUSE") or record["clickhouse"],
    )


def process_record(process: ProcessState) -> dict[str, Any]:
    """A process as the record shows it; the start time beside the pid tells it from a later process."""
    pid_started = None
    if process.pid is not None:
        with suppress(psutil.NoSuchProcess):  # ended meanwhile: the next change is recorded without it
            pid_started = started_at(process.pid)
    return {
        "name": process.name,
        "pid": process.pid if pid_started is not None else None,
        "pid_started": pid_started,
        "started": process.started.isoformat() if process.started else None,
        "restarts": process.restarts,
        "state": process.state,
        "log": str(process.log_path),
    }
