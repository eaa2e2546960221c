"""One system in one round: consumes a place to work in, produces a sample for each concurrency."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from infra.bench.closed_loop import Load, drive, request
from infra.bench.serve.models import Row
from infra.bench.serve.peers import model
from infra.bench.serve.plan import WARM_S, ServePlan, cores
from infra.bench.serve.systems import PEERS, Place, System, kin, running
from infra.local.errors import StackError

_SESSION_S: Final = 120.0


@dataclass(frozen=True)
class Sample:
    """What was measured at one concurrency. `elsewhere`: cores that other programs kept busy meanwhile."""

    ms: Sequence[float]
    seconds: float
    cpu_s: float
    failed: int = 0
    compared: int = 0
    differing: int = 0
    elsewhere: float = 0.0

    @property
    def per_s(self) -> float:
        """Return the answers per second."""
        return len(self.ms) / self.seconds


class Checker:
    """Compares answers with what the model says of each row alone."""

    def __init__(self, folder: Path | None, rows: Sequence[Row]) -> None:
        self._judge = model.served(folder) if folder else None
        self._rows = rows

    def differing(self, load: Load) -> tuple[int, int]:
        """Return how many of the kept answers were compared, and how many have another label."""
        if self._judge is None:
            return 0, 0
        wanted = [self._judge(self._rows[row])["label"] for row, _ in load.kept]
        wrong = sum(
            json.dumps(label).encode() not in body for label, (_, body) in zip(wanted, load.kept, strict=True)
        )
        return len(wanted), wrong


def served(
    system: System, place: Place, rows: Sequence[Row], start: int, check: Checker
) -> tuple[list[Sample], int]:
    """Start a system, ask it at every concurrency; return the samples and the next row to ask.

    Raises:
        StackError: it did not start, or did not answer.
    """
    plan: ServePlan = place.plan
    samples = []
    with running(system, place) as server:
        requests = [request(system.path, system.payload(row), server.headers) for row in rows]
        start += drive(server.port, requests, start, max(plan.concurrency), WARM_S).sent
        for concurrency in plan.concurrency:
            before = _Usage(server.pid)
            load = drive(server.port, requests, start, concurrency, plan.seconds)
            cpu_s, elsewhere = before.since()
            start += load.sent
            compared, differing = check.differing(load)
            samples.append(Sample(load.ms, load.seconds, cpu_s, load.failed, compared, differing, elsewhere))
    return samples, start


def session(place: Place, rows: Sequence[Row]) -> list[Sample]:
    """Run the session without a server on as many threads as rows are answered at once.

    Raises:
        StackError: the program failed.
    """
    file = place.folder / "rows.json"
    file.write_text(json.dumps(rows[:4000]), encoding="utf-8")
    samples = []
    for concurrency in place.plan.concurrency:
        threads = min(concurrency, cores())
        argv = [sys.executable, str(PEERS / "session.py"), str(file), str(place.plan.seconds), str(threads)]
        before = _Usage(0)
        done = subprocess.run(
            argv, env={**os.environ, **place.environment}, capture_output=True, text=True, check=False,
            timeout=_SESSION_S + place.plan.seconds,
        )  # fmt: skip
        if done.returncode != 0:
            raise StackError(f"the session failed:\n{done.stderr[-1500:]}")
        told = json.loads(done.stdout)
        _, busy = before.since()
        mine = told["cpu_s"] / told["seconds"]
        samples.append(Sample(told["ms"], told["seconds"], told["cpu_s"], elsewhere=max(0.0, busy - mine)))
    return samples


class _Usage:
    """CPU time of a server's processes, of this one and of the machine from a moment on."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._at = time.monotonic()
        self._server, self._own, self._all = self._now()

    def since(self) -> tuple[float, float]:
        """Return the server's seconds of CPU, and how many cores others had busy."""
        server, own, busy = self._now()
        cpu_s = server - self._server
        others = busy - self._all - cpu_s - (own - self._own)
        return cpu_s, max(0.0, others / (time.monotonic() - self._at))

    def _now(self) -> tuple[float, float, float]:
        times = psutil.cpu_times()
        busy = sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
        return sum(map(_cpu_s, kin(self._pid))), time.process_time(), busy


def _cpu_s(process: psutil.Process) -> float:
    try:
        used = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(used.user + used.system)
