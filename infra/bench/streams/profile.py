"""Where the worker's CPU time goes: consumes samples of a run that is not counted, produces shares.

py-spy looks at the running worker from outside, 200 times a second, in every thread that is not idle; time in
native code (msgspec, Kafka's CRC, sockets) counts for the Python function that called it.
"""

import dataclasses
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from infra.bench.streams.engines import HEADRACE
from infra.bench.streams.environments import Say, environment
from infra.bench.streams.rounds import Plan, compare
from infra.local.errors import StackError

_RATE: Final = 200
_SHOWN: Final = 30
_WRITES_WITHIN_S: Final = 60.0
_WAITING: Final = ("EpollSelector.select", "select (selectors.py", "_worker (concurrent/futures")
"""An event loop that waits for the kernel is not idle to py-spy, but uses no CPU time."""


def profile(plan: Plan, say: Say) -> dict[str, Any]:
    """Run Headrace once more under py-spy and return the shares.

    Raises:
        StackError: py-spy could not be installed or saw nothing, or the worker failed.
    """
    spy = environment("py-spy", plan.home / "environments", say) / "py-spy"
    samples = plan.home / "profile.txt"
    samples.unlink(missing_ok=True)
    sampler: list[subprocess.Popen[bytes]] = []

    def begin(pids: Sequence[int]) -> None:
        argv = [
            str(spy),
            "record",
            "-p",
            str(pids[0]),
            "-r",
            str(_RATE),
            "-F",
            "-f",
            "raw",
            "-o",
            str(samples),
        ]
        sampler.append(subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    try:
        figures = compare(dataclasses.replace(plan, engines=(HEADRACE,), rounds=1), say, begin)
        if not sampler:
            raise StackError(
                "\n".join(figures["engines"][HEADRACE].get("failed", ["the worker did not run"]))
            )
        sampler[0].wait(_WRITES_WITHIN_S)  # it writes when the worker has ended
    finally:
        for spying in sampler:
            spying.kill()
            spying.wait()
    if not samples.exists():
        raise StackError(
            "py-spy saw nothing: it needs the right to trace processes (root, or CAP_SYS_PTRACE)"
        )
    return shares(samples.read_text(encoding="utf-8").splitlines())


def shares(stacks: Iterable[str]) -> dict[str, Any]:
    """Return the shares of functions (by themselves, with what they call) and of packages, of what worked.

    A line is a stack, outermost frame first, and how often it was seen: `main (a.py:1);run (b.py:2) 37`.
    """
    waiting = 0
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    packages: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        seen = int(count)
        if frames[-1].startswith(_WAITING):
            waiting += seen
            continue
        own[frames[-1]] += seen
        packages[_package(frames[-1])] += seen
        for frame in set(frames):
            total[frame] += seen
    everything = max(1, own.total())

    def ranked(counted: Counter[str]) -> list[dict[str, Any]]:
        return [
            {"name": name, "share": round(seen / everything, 4)} for name, seen in counted.most_common(_SHOWN)
        ]

    return {
        "samples": own.total(),
        "waiting": waiting,
        "packages": ranked(packages),
        "own": ranked(own),
        "total": ranked(total),
    }


def lines(profile: dict[str, Any]) -> Iterable[str]:
    """Yield the shares for a terminal."""
    for title, key in (("by package", "packages"), ("function by itself", "own"), ("with callees", "total")):
        yield f"{title} ({profile['samples']} samples)"
        for row in profile[key]:
            yield f"  {row['share']:6.1%}  {row['name']}"


def _package(frame: str) -> str:
    """Return the first folder of a frame's file, of ours the first two."""
    file = frame.rpartition(" (")[2].rstrip(")").rpartition(":")[0] or frame.rpartition(" (")[2].rstrip(")")
    parts = Path(file).parts
    return "/".join(parts[:2]) if parts and parts[0] in ("streams", "infra") else (parts[0] if parts else "?")
