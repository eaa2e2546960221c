"""Processor time and memory by process: consumes the stack's processes, produces samples over time."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import psutil

EVERY_S: Final = 1.0


class Sample(NamedTuple):
    """At `at_s` (seconds since 1970), by process: processor seconds used so far, resident bytes."""

    at_s: float
    cpu_s: dict[str, float]
    rss_bytes: dict[str, int]


def sample(pids: Mapping[str, int]) -> Sample:
    """Look at some processes, each with its descendants; one that has ended is left out."""
    cpu_s: dict[str, float] = {}
    rss_bytes: dict[str, int] = {}
    for name, pid in pids.items():
        with suppress(psutil.NoSuchProcess):  # ended: it has no figures
            root = psutil.Process(pid)
            family = [root, *(root.children(recursive=True) if name != "bench" else ())]
            cpu_s[name], rss_bytes[name] = 0.0, 0
            for process in family:
                with suppress(psutil.NoSuchProcess):  # a child that ended meanwhile
                    times = process.cpu_times()
                    cpu_s[name] += times.user + times.system
                    rss_bytes[name] += process.memory_info().rss
    return Sample(time.time(), cpu_s, rss_bytes)


class Usage:
    """Samples once a second. `pids` is asked each time, for a process that died comes back under another."""

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self._pids = pids
        self.samples: list[Sample] = []

    async def watch(self) -> None:
        """Sample until cancelled."""
        while True:
            self.samples.append(sample(self._pids()))
            await asyncio.sleep(EVERY_S)

    def between(self, from_s: float, to_s: float) -> list[Sample]:
        """Return the samples of a span of time."""
        return [one for one in self.samples if from_s <= one.at_s <= to_s]


def cores(samples: list[Sample]) -> dict[str, float]:
    """Return the cores that each process kept busy on average."""
    if len(samples) < 2:
        return {}
    first, last = samples[0], samples[-1]
    span_s = last.at_s - first.at_s
    return {
        name: round((used - first.cpu_s[name]) / span_s, 4)
        for name, used in last.cpu_s.items()
        if name in first.cpu_s
    }
