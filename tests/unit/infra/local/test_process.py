"""The supervisor, with small real processes: readiness, restarts, order of stops, no orphan."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.local.errors import StackError
from infra.local.process import MAX_BACKOFF_S, Backoff, ProcessSpec, Supervisor, log_tail
from tests.waiting import eventually

PAUSE = "import signal; signal.pause()"


def spec(tmp_path: Path, name: str, code: str, **options: object) -> ProcessSpec:
    """A process that runs some Python."""
    argv = [sys.executable, "-c", code, str(tmp_path / name)]
    return ProcessSpec(name=name, argv=argv, log_path=tmp_path / f"{name}.log", **options)  # type: ignore[arg-type]


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    """A supervisor whose processes are gone after the test."""
    running = Supervisor()
    yield running
    running.stop_all()


def test_a_process_is_ready_when_its_check_says_so(supervisor: Supervisor, tmp_path: Path) -> None:
    """Waiting returns only once the readiness check holds."""
    made = tmp_path / "one"
    code = "import pathlib, signal, sys; pathlib.Path(sys.argv[1]).touch(); signal.pause()"
    supervisor.start(spec(tmp_path, "one", code, ready=made.exists))
    supervisor.wait_ready("one")
    (state,) = supervisor.states()
    assert made.exists()
    assert state.state == "running"
    assert state.pid is not None
    assert state.rss_bytes > 0


def test_a_killed_process_comes_back(supervisor: Supervisor, tmp_path: Path) -> None:
    """A crash is followed by a new process and counted."""
    supervisor.start(spec(tmp_path, "one", PAUSE))
    supervisor.wait_ready("one")
    first = supervisor.kill("one")
    eventually(lambda: supervisor.states()[0].restarts == 1 and supervisor.states()[0].pid)
    assert supervisor.states()[0].pid != first


def test_pauses_grow_only_for_what_does_not_come_to_work() -> None:
    """One that is killed again and again, but worked in between, is back at once each time."""
    backoff = Backoff()
    assert [backoff.after(1.0) for _ in range(4)] == [0.2, 0.4, 0.8, 1.6]
    assert [backoff.after(60.0) for _ in range(4)] == [0.2] * 4
    assert [backoff.after(0.0) for _ in range(9)][-1] == MAX_BACKOFF_S


def test_a_process_that_keeps_ending_fails_its_start_with_its_log(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    """The error of a start carries what the process said."""
    supervisor.start(spec(tmp_path, "one", "import sys; sys.exit('no such setting')", ready=lambda: False))
    with pytest.raises(StackError, match="no such setting"):
        supervisor.wait_ready("one")


def test_a_process_that_is_never_ready_fails_at_its_deadline(supervisor: Supervisor, tmp_path: Path) -> None:
    """A start does not wait for ever."""
    supervisor.start(spec(tmp_path, "one", PAUSE, ready=lambda: False, ready_timeout_s=0.3))
    with pytest.raises(StackError, match="not ready"):
        supervisor.wait_ready("one")


def test_a_missing_program_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    """The reason is the program's name, not a traceback."""
    supervisor.start(ProcessSpec("one", ["/no/such/program"], tmp_path / "one.log", ready=lambda: False))
    with pytest.raises(StackError, match="cannot run /no/such/program"):
        supervisor.wait_ready("one")


def test_stops_go_in_reverse_order_of_starts(tmp_path: Path) -> None:
    """Workers, started last, end before the services that they need."""
    told = tmp_path / "order"
    code = (
        "import signal, sys\n"
        f"def end(*_):\n    open({str(told)!r}, 'a').write(sys.argv[1][-1]); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end); open(sys.argv[1], 'w').close(); signal.pause()"
    )
    supervisor = Supervisor()
    for name in ("a", "b", "c"):
        supervisor.start(spec(tmp_path, name, code, ready=(tmp_path / name).exists))
        supervisor.wait_ready(name)
    supervisor.stop_all()
    assert told.read_text() == "cba"
    assert {state.state for state in supervisor.states()} == {"stopped"}


def test_a_process_that_ignores_sigterm_is_killed_with_its_children(tmp_path: Path) -> None:
    """After the stop timeout the whole group goes."""
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "if child:\n"
        "    open(sys.argv[1] + '.tmp', 'w').write(str(child))\n"
        "    os.rename(sys.argv[1] + '.tmp', sys.argv[1])\n"
        "signal.pause()"
    )
    supervisor = Supervisor()
    supervisor.start(spec(tmp_path, "one", code, ready=(tmp_path / "one").exists, stop_timeout_s=0.2))
    supervisor.wait_ready("one")
    grandchild = int((tmp_path / "one").read_text())
    supervisor.stop_all()
    eventually(lambda: not _lives(grandchild))


def test_no_child_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    """Kill -9 of the supervising process takes its children with it."""
    code = (
        "import os, signal, sys; from pathlib import Path; from infra.local.process import *\n"
        "s = Supervisor(); folder = Path(sys.argv[1])\n"
        f"[s.start(ProcessSpec(n, [sys.executable, '-c', {PAUSE!r}], folder / n)) for n in 'ab']\n"
        "[s.wait_ready(n) for n in 'ab']\n"
        "print(*[p.pid for p in s.states()], flush=True); signal.pause()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    pids = [int(pid) for pid in holder.stdout.readline().split()]
    assert len(pids) == 2
    assert all(_lives(pid) for pid in pids)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(5)
    holder.stdout.close()
    eventually(lambda: not any(_lives(pid) for pid in pids))


def test_the_log_tail_names_the_file(tmp_path: Path) -> None:
    """What a failed start shows is the end of the log and where the rest is."""
    path = tmp_path / "x.log"
    assert "no log" in log_tail(path)
    path.write_text("\n".join(str(n) for n in range(50)))
    assert log_tail(path, lines=2) == f"48\n49\n(log: {path})"


def _lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
