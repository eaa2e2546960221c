"""Supervised processes: consumes process specs, keeps their processes alive, produces their states.

One thread spawns, watches, restarts and stops every child. It must be one long-lived thread: the kernel's
parent-death signal follows the *thread* that forked, so a child spawned from a passing thread would die with
it.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from infra.local.errors import StackError

GUARD = Path(__file__).with_name("guard.py")
TICK_S = 0.05
FIRST_BACKOFF_S = 0.2
MAX_BACKOFF_S = 15.0
STEADY_AFTER_S = 5.0  # a process that worked this long, once ready, starts its pauses anew
MAX_EARLY_EXITS = 3  # exits before ever being ready, after which a start has failed
LOG_KEEP_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class ProcessSpec:
    """What to run and how to know that it works.

    Attributes:
        name: unique within the supervisor.
        argv: program and arguments; the program is looked up in PATH.
        log_path: stdout and stderr are appended here.
        ready: asked about 20 times a second until true; must answer within half a second. None: ready when
        running. env: added to this process's environment.
        stop_timeout_s: between SIGTERM and SIGKILL.
        restart: whether to start it again, with growing pauses, when it ends by itself.
        ready_timeout_s: how long a start may take.
    """

    name: str
    argv: Sequence[str]
    log_path: Path
    ready: Callable[[], bool] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    stop_timeout_s: float = 10.0
    restart: bool = True
    ready_timeout_s: float = 60.0
    cwd: Path | None = None


@dataclass(frozen=True)
class ProcessState:
    """A process as seen now. ``state``: starting, running, waiting (to be restarted), stopped or failed."""

    name: str
    pid: int | None
    rss_bytes: int
    cpu_percent: float
    restarts: int
    state: str
    started: datetime | None
    log_path: Path


class Backoff:
    """Pauses before restarts: they double while a process does not come to work, up to `MAX_BACKOFF_S`."""

    def __init__(self) -> None:
        self._next_s = FIRST_BACKOFF_S

    def after(self, worked_s: float) -> float:
        """Return the pause in seconds after a process ended that had been ready for `worked_s`."""
        pause_s = FIRST_BACKOFF_S if worked_s > STEADY_AFTER_S else self._next_s
        self._next_s = min(2 * pause_s, MAX_BACKOFF_S)
        return pause_s


class _Child:
    """One spec's current process, changed by the supervisor's thread alone."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        self.probe: psutil.Process | None = None
        self.state = "waiting"
        self.restarts = -1  # the first start is no restart
        self.early_exits = 0
        self.ever_ready = False
        self.backoff = Backoff()
        self.due = 0.0
        self.ready_at: float | None = None
        self.started: datetime | None = None


class Supervisor:
    """Starts processes, restarts those that crash, stops all in reverse order.

    Args:
        on_change: called from the supervisor's thread after a process changed its state.
    """

    def __init__(self, on_change: Callable[[], None] | None = None) -> None:
        self._on_change = on_change
        self._children: dict[str, _Child] = {}
        self._todo: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._changed = threading.Condition()
        self._thread.start()

    def start(self, spec: ProcessSpec) -> None:
        """Start a process; returns at once. A name of an ended process may be used again."""
        with self._changed:
            known = self._children.get(spec.name)
            if known is not None and known.state not in ("stopped", "failed"):
                raise StackError(f"a process named {spec.name!r} runs already")
            self._children[spec.name] = _Child(spec)
        self._todo.put(lambda: None)  # wakes the thread

    def wait_ready(self, name: str) -> None:
        """Wait until a process is ready.

        Raises:
            StackError: it kept ending, or was not ready in its time; the message carries its log's end.
        """
        child = self._children[name]
        deadline = time.monotonic() + child.spec.ready_timeout_s
        with self._changed:
            while child.state != "running":
                left_s = deadline - time.monotonic()
                if child.state in ("failed", "stopped") or child.early_exits >= MAX_EARLY_EXITS:
                    raise StackError(
                        f"{name} ended instead of becoming ready:\n{log_tail(child.spec.log_path)}"
                    )
                if left_s <= 0:
                    told = log_tail(child.spec.log_path)
                    raise StackError(
                        f"{name} was not ready after {child.spec.ready_timeout_s:.0f} s:\n{told}"
                    )
                self._changed.wait(left_s)

    def kill(self, name: str, sig: int = signal.SIGKILL) -> int:
        """Send a signal to a running process, which is restarted if its spec says so; returns its pid."""
        process = self._children[name].process
        if process is None or process.poll() is not None:
            raise StackError(f"{name} does not run now")
        os.kill(process.pid, sig)
        return process.pid

    def stop(self, name: str) -> None:
        """Stop one process and wait for its end; it is not restarted."""
        child = self._children[name]
        self._in_thread(lambda: self._end([child]))

    def stop_all(self) -> None:
        """Stop every process, last started first, and the supervisor's thread with them."""
        if self._thread.is_alive():
            self._in_thread(lambda: self._end(list(reversed(self._children.values()))))
            self._todo.put(None)
            self._thread.join()

    def states(self) -> list[ProcessState]:
        """All processes in the order of their start."""
        return [_state_of(child) for child in list(self._children.values())]

    def _in_thread(self, work: Callable[[], None]) -> None:
        done = threading.Event()

        def run() -> None:
            try:
                work()
            finally:
                done.set()

        self._todo.put(run)
        while not done.wait(0.2):
            if not self._thread.is_alive():
                raise StackError("the supervisor's thread ended")

    def _run(self) -> None:
        while True:
            try:
                work = self._todo.get(timeout=TICK_S)
            except queue.Empty:
                self._tick()
                continue
            if work is None:
                return
            work()
            self._tick()

    def _tick(self) -> None:
        now = time.monotonic()
        for child in list(self._children.values()):
            before = (child.state, child.restarts)
            if child.state == "waiting" and now >= child.due:
                self._spawn(child)
            elif child.state in ("starting", "running") and child.process is not None:
                if child.process.poll() is not None:
                    _note_exit(child, now)
                elif child.state == "starting" and _is_ready(child.spec):
                    child.state, child.ever_ready, child.ready_at = "running", True, now
            if (child.state, child.restarts) != before:
                self._tell()

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
        if self._on_change is not None:
            self._on_change()

    def _spawn(self, child: _Child) -> None:
        spec = child.spec
        spec.log_path.parent.mkdir(parents=True, exist_ok=True)
        if spec.log_path.exists() and spec.log_path.stat().st_size > LOG_KEEP_BYTES:
            spec.log_path.replace(spec.log_path.with_name(spec.log_path.name + ".1"))
        argv = [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), *spec.argv]
        with spec.log_path.open("ab") as log:
            child.process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **spec.env},
                cwd=spec.cwd,
                # A group of its own: Ctrl-C reaches the supervisor alone, which stops in order.
                start_new_session=True,
            )
        child.restarts += 1
        child.state = "starting"
        child.ready_at = None
        child.started = datetime.now(UTC)
        with suppress(psutil.NoSuchProcess):  # ended already: the next tick notes it
            child.probe = psutil.Process(child.process.pid)

    def _end(self, children: list[_Child]) -> None:
        for child in children:
            if child.process is not None and child.process.poll() is None:
                _signal_group(child.process, signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):  # the group is killed below
                    child.process.wait(child.spec.stop_timeout_s)
                _signal_group(child.process, signal.SIGKILL)  # also whatever it left behind in its group
                child.process.wait()
            child.state = "stopped"
            self._tell()


def log_tail(path: Path, lines: int = 15) -> str:
    """The last lines of a log file, or a note that there are none."""
    if not path.exists():
        return f"(no log at {path})"
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 16_384))
        text = log.read().decode(errors="replace")
    return "\n".join(text.splitlines()[-lines:]) + f"\n(log: {path})"


def _is_ready(spec: ProcessSpec) -> bool:
    return spec.ready is None or spec.ready()


def _note_exit(child: _Child, now: float) -> None:
    if child.process is not None:
        _signal_group(child.process, signal.SIGKILL)  # its own children must not live beside the next one's
    if not child.ever_ready:
        child.early_exits += 1
    if not child.spec.restart:
        child.state = "stopped" if child.process is not None and child.process.returncode == 0 else "failed"
        return
    worked_s = 0.0 if child.ready_at is None else now - child.ready_at
    child.state = "waiting"
    child.due = now + child.backoff.after(worked_s)


def _signal_group(process: subprocess.Popen[bytes], sig: int) -> None:
    with suppress(ProcessLookupError):  # ended meanwhile
        os.killpg(process.pid, sig)


def _state_of(child: _Child) -> ProcessState:
    pid, rss_bytes, cpu_percent = None, 0, 0.0
    if child.state in ("starting", "running") and child.process is not None and child.probe is not None:
        with suppress(psutil.Error):  # ended meanwhile: shown without figures until the next tick
            rss_bytes = child.probe.memory_info().rss
            cpu_percent = child.probe.cpu_percent()
            pid = child.process.pid
    return ProcessState(
        name=child.spec.name,
        pid=pid,
        rss_bytes=rss_bytes,
        cpu_percent=cpu_percent,
        restarts=max(child.restarts, 0),
        state=child.state,
        started=child.started,
        log_path=child.spec.log_path,
    )
