"""What auth, limits and audit cost a request: beside a plain FastAPI no-op, in the same run, in rounds.

Consumes the systems of `served`, each a process of its own; produces requests a second and latencies.
"""

import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from infra.bench.closed_loop import Load, drive, request
from infra.bench.gateway.served import CREDENTIAL, PATH, SYSTEMS
from infra.local.cache import cache_spec
from infra.local.ports import is_free, lease_port
from infra.local.process import ProcessSpec, Supervisor
from schemas.errors import Fatal

BODY: Final = b'{"specversion":"1.0","type":"headrace.api.request.v2","source":"shop","id":"1","data":{}}'


def measure(*, rounds: int, seconds: float, connections: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Run every system in every round, one after the other, and return the figures.

    Raises:
        StackError: a system or Redis did not start.
        Fatal: a request was refused: the figures would be those of a refusal.
    """
    found: dict[str, list[Load]] = {name: [] for name in SYSTEMS}
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as folder, ExitStack() as stack:
        supervisor = Supervisor()
        stack.callback(supervisor.stop_all)
        redis = _lease(stack)
        _start(supervisor, cache_spec(Path(folder) / "redis", redis, Path(folder) / "redis.log"))
        ports: dict[str, int] = {}
        for name in SYSTEMS:
            home = Path(folder) / name
            home.mkdir()
            ports[name] = _lease(stack)
            _start(supervisor, _spec(name, ports[name], home, f"redis://127.0.0.1:{redis}"))
        requests = {name: _request((Path(folder) / name / CREDENTIAL).read_text()) for name in SYSTEMS}
        for name in SYSTEMS:  # to warm up
            drive(ports[name], [requests[name]], 0, connections, min(1.0, seconds))
        for number in range(rounds):
            for name in SYSTEMS:
                one = drive(ports[name], [requests[name]], 0, connections, seconds)
                if one.failed:
                    answer = one.failure[:200]
                    raise Fatal(f"{name} answered {one.failed} with {answer!r}: only 200 can be compared")
                found[name].append(one)
                say(f"round {number + 1}: {name:<8}{one.requests_per_s:>8,.0f} requests/s")
    return figures_of(found)


def figures_of(found: dict[str, list[Load]]) -> dict[str, Any]:
    """Return medians over the rounds; a ratio is the median of those of one round."""
    systems = {}
    for name, rounds in found.items():
        systems[name] = {
            "requests_per_s": round(statistics.median(one.requests_per_s for one in rounds)),
            "rounds": [round(one.requests_per_s) for one in rounds],
            **{
                f"p{q}_ms": round(statistics.median(one.quantile_ms(q / 100) for one in rounds), 2)
                for q in (50, 95, 99)
            },
        }
    ratios = {
        name: round(
            statistics.median(
                ours.requests_per_s / plain.requests_per_s
                for ours, plain in zip(found[name], found["fastapi"], strict=True)
            ),
            2,
        )
        for name in found
        if name != "fastapi"
    }
    return {"systems": systems, "ratios": ratios}


def report(figures: dict[str, Any]) -> str:
    """Return the figures as a table; a ratio is headrace ÷ FastAPI, of the same round, in the median."""
    lines = [f"{'':<10}{'requests/s':>12}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'÷ FastAPI':>12}"]
    for name, system in figures["systems"].items():
        ratio = figures["ratios"].get(name)
        lines.append(
            f"{name:<10}{system['requests_per_s']:>12,}{system['p50_ms']:>9}{system['p95_ms']:>9}"
            f"{system['p99_ms']:>9}{f'{ratio:.2f}' if ratio else '':>12}"
        )
    return "\n".join(lines)


def _lease(stack: ExitStack) -> int:
    lease = lease_port()
    stack.callback(lease.release)
    return lease.port


def _start(supervisor: Supervisor, spec: ProcessSpec) -> None:
    supervisor.start(spec)
    supervisor.wait_ready(spec.name)


def _spec(name: str, port: int, home: Path, redis: str) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        argv=[sys.executable, "-m", "infra.bench.gateway.served", name, str(port), str(home), redis],
        log_path=home / "log",
        ready=lambda: not is_free(port),
        restart=False,
    )


def _request(credential: str) -> bytes:
    """Return the bytes of one request."""
    login = {"authorization": f"Bearer {credential}"} if credential else {}
    return request(PATH, BODY, {"content-type": "application/cloudevents+json", **login})
