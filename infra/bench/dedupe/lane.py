"""The dedupe benchmark's partition: consumes numbered identities, produces timings and changelog records.

It drives the worker's own CleanPipeline memory as the pipeline does: advance, look up, add, take the delta.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from infra.runtime.settings import Settings, parse
from schemas.config import Headrace
from streams.operators.dedupe import Dedupe, fingerprints
from streams.operators.pipeline import CleanPipeline

STREAM: Final = "bench"
BATCH: Final = 2000
PARTITIONS: Final = 2
T = TypeVar("T")


def config(prefix: str) -> Headrace:
    """Return the configuration of an installation with one stream and the default window."""
    return parse(f'topic_prefix = "{prefix}"\n[streams.{STREAM}]\nkind = "api"\n', "the benchmark")


def keys_of(first: int, count: int) -> list[bytes]:
    """Return the fingerprints of `count` identities, from number `first` on."""
    return fingerprints(
        [(f"bench/{number & 1023}", f"{number:020x}") for number in range(first, first + count)]
    )


@dataclass
class Timer:
    """Time spent in one kind of call, and the longest of them, both as the clock on the wall goes."""

    total_s: float = 0.0
    longest_s: float = 0.0
    longest_cpu_s: float = 0.0

    def time(self, call: Callable[[], T]) -> T:
        """Run a call."""
        began, cpu = time.perf_counter(), time.thread_time()
        result = call()
        cpu, spent = time.thread_time() - cpu, time.perf_counter() - began
        self.total_s += spent
        self.longest_s = max(self.longest_s, spent)
        self.longest_cpu_s = max(self.longest_cpu_s, cpu)
        return result


@dataclass
class Timers:
    """What a batch does to the state."""

    insert: Timer = field(default_factory=Timer)
    lookup: Timer = field(default_factory=Timer)
    expire: Timer = field(default_factory=Timer)


class Lane:
    """One partition's memory."""

    def __init__(self, settings: Settings) -> None:
        self.pipeline = CleanPipeline(settings.config.streams)

    @property
    def dedupe(self) -> Dedupe:
        """Return the memory of identities."""
        memory = self.pipeline.memories[STREAM]
        assert isinstance(memory, Dedupe)  # noqa: S101  # streams remember identities by this class
        return memory

    def batch(self, keys: Sequence[bytes], now_s: float, timers: Timers) -> tuple[int, bytes]:
        """Take a batch in; return how many were seen before, and the record for `dedupe.log`."""
        dedupe = self.dedupe
        timers.expire.time(lambda: dedupe.advance(now_s))
        seen = timers.lookup.time(lambda: look_up(dedupe, keys))

        def add() -> tuple[int, bytes]:
            for key in keys:
                if key not in seen:
                    dedupe.add(key)
            return dedupe.delta()

        bucket, packed = timers.insert.time(add)
        return len(seen), msgspec.msgpack.encode([(STREAM, dedupe.bucket_s, bucket, packed)])


def look_up(dedupe: Dedupe, keys: Sequence[bytes]) -> set[bytes]:
    """Return those of a batch that were seen."""
    seen = dedupe.seen_long_ago(keys)
    return seen | {key for key in keys if dedupe.seen(key)}


def memory_bytes(name: str) -> int:
    """Return this process's memory: `VmRSS` now, `VmHWM` at its highest."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"no {name} in /proc/self/status")
