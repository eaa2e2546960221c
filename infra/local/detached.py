"""Supervisors that outlive the command that started them: starts one and waits for its record, ends one."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from infra.local.errors import StackError
from infra.local.home import Home, end_leftovers, is_alive, read_record
from infra.local.process import log_tail

TOLD: Final = "stack: "
"""How a supervisor's line of progress begins in its log; its other lines are for who reads the log."""


def start(
    module: str, arguments: Sequence[str], place: Home, timeout_s: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Run ``python -m module ARGUMENTS…`` in a session of its own and return its record once it says ready.

    `say` gets each line of progress as it comes.

    Raises:
        StackError: it ended, or was not ready in time; the message carries its log's end.
    """
    log_path = place.log("supervisor")
    log_path.parent.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", module, *arguments]
    begun = log_path.stat().st_size if log_path.exists() else 0
    with log_path.open("ab") as log:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + timeout_s
    with log_path.open() as told:
        told.seek(begun)
        while time.monotonic() < deadline:
            for line in told:
                if line.startswith(TOLD):
                    say(line.removeprefix(TOLD).rstrip())
            record = _ready_record(place, child.pid)
            if record is not None:
                return record
            if child.poll() is not None:
                raise StackError(f"the stack did not start:\n{log_tail(log_path)}")
            time.sleep(0.05)
    child.terminate()
    raise StackError(f"the stack was not ready after {timeout_s:.0f} s:\n{log_tail(log_path)}")


def end(record: dict[str, Any], timeout_s: float) -> list[str]:
    """Let a recorded supervisor stop its processes; one that does not is killed, and they with it.

    Returns the processes' names. Nothing but what the record names by id and start time is signalled.
    """
    pid, started = int(record["supervisor_pid"]), float(record["supervisor_started"])
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while is_alive(pid, started) and time.monotonic() < deadline:
        time.sleep(0.05)
    if is_alive(pid, started):
        os.kill(pid, signal.SIGKILL)  # its children follow by the parent-death signal
        end_leftovers(record)
    return [process["name"] for process in record["processes"]]


def end_stale(place: Home) -> list[str]:
    """End what a killed supervisor left behind and clear its record away; returns the ended ones' names."""
    stale = read_record(place)
    ended = end_leftovers(stale) if stale else []
    place.record.unlink(missing_ok=True)
    return ended


def say(line: str) -> None:
    """Write a line of progress, from inside a supervisor."""
    sys.stdout.write(f"{TOLD}{line}\n")
    sys.stdout.flush()


def _ready_record(place: Home, pid: int) -> dict[str, Any] | None:
    record = read_record(place)
    ready = record is not None and record["supervisor_pid"] == pid and record["state"] == "ready"
    return record if ready else None
