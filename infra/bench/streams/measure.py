"""One measurement: consumes an engine and its share of the events, produces its rate, its outputs checked.

The engine starts on a first part of the events, which is not timed, and is warm when their outputs are there.
The clock then runs from the commit that makes the timed events visible to the broker's own time stamp of the
last committed output; process starts and warming up are not in it. It ends at the append of that record, not
at its commit, so that engines which commit at intervals are not charged for them.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import psutil

from infra.bench.streams.channel import Names, Outputs, create, publish, remove
from infra.bench.streams.engines import Engine, Place, Started
from infra.bench.streams.events import EventStream
from infra.local.errors import StackError
from infra.local.process import ProcessSpec, Supervisor, log_tail

_LOOK_EVERY_S: Final = 0.05
_QUIET_S: Final = 0.8
_READ_AGAIN_S: Final = 1.0
_STALLED_S: Final = 25.0
_WARM_WITHIN_S: Final = 120.0

During = Callable[[Sequence[int]], None]
"""Called with the ids of the engine's processes when the timed events become visible."""


@dataclass(frozen=True)
class Measured:
    """What one engine did in one round. `commit_wait_s`: from the last output's append to its visibility."""

    events: int
    seconds: float
    lost: int
    doubled: int
    wrong: int
    cpu_s: float
    commit_wait_s: float

    @property
    def events_per_s(self) -> float:
        """Return the input events per second."""
        return self.events / self.seconds


async def measure(
    engine: Engine, place: Place, stream: EventStream, events: int, during: During | None = None
) -> Measured:
    """Run one engine over `events` timed events, and check that each distinct one came out once.

    Raises:
        StackError: the engine could not be started, ended by itself, or produced nothing.
    """
    warm = int(events * engine.warm_up)
    names = place.names
    await create(place.kafka, names)
    await publish(place.kafka, names.input, stream.part(0, warm, names.partitions))
    started = await asyncio.to_thread(engine.start, place)
    supervisor = Supervisor()
    try:
        async with Outputs(place.kafka, names, stream.started) as outputs:
            await asyncio.to_thread(_start, supervisor, started)
            watch = _Watch(supervisor, started, outputs)
            await watch.until(stream.distinct(warm), _WARM_WITHIN_S, "warm up")
            timed = stream.part(warm, warm + events, names.partitions)
            cpu_before_s = watch.cpu_s()
            visible_at = await publish(place.kafka, names.input, timed)
            if during is not None:
                during(watch.pids())
            distinct = stream.distinct(warm + events)
            await watch.until(distinct, _STALLED_S)
            await asyncio.to_thread(supervisor.stop_all)
            await outputs.drain()
            return Measured(
                events=events,
                seconds=max(outputs.last_append_s - visible_at, 1e-3),
                lost=distinct - len(outputs.ids),
                doubled=outputs.doubled,
                wrong=outputs.wrong,
                cpu_s=watch.moved_cpu_s - cpu_before_s,
                commit_wait_s=max(0.0, watch.moved_at - outputs.last_append_s),
            )
    finally:
        await asyncio.to_thread(supervisor.stop_all)
        for lease in started.leases:
            lease.release()
        await remove(place.kafka, names)


class _Watch:
    """Follows an engine's outputs and processes while it works."""

    def __init__(self, supervisor: Supervisor, started: Started, outputs: Outputs) -> None:
        self._supervisor = supervisor
        self._specs = {spec.name: spec for spec in started.specs}
        self._outputs = outputs
        self.moved_at = time.time()
        self.moved_cpu_s = 0.0

    async def until(self, distinct: int, stalled_s: float, doing: str = "") -> None:
        """Wait until so many different outputs are visible, or none came for `stalled_s`.

        They are only read, which takes CPU time, when no more become visible for a while; and again after
        that, as a broker that is busy may not hand out at once what is visible.

        Raises:
            StackError: a process failed, or the engine stalled while `doing` what it must.
        """
        self.moved_at = time.time()
        reach = read = -1
        read_at = 0.0
        while True:
            self._check_alive()
            now_reaching = await self._outputs.reach()
            if now_reaching != reach:
                reach, self.moved_at, self.moved_cpu_s = now_reaching, time.time(), self.cpu_s()
            quiet_s = time.time() - self.moved_at
            if quiet_s > _QUIET_S and (read != reach or time.time() - read_at > _READ_AGAIN_S):
                read = reach
                await self._outputs.drain()
                read_at = time.time()
                if len(self._outputs.ids) >= distinct:
                    return
            if quiet_s > stalled_s:
                if doing:
                    raise StackError(f"it did not {doing} within {stalled_s:.0f} s:\n{self._tails()}")
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    def pids(self) -> list[int]:
        """Return the ids of the engine's processes."""
        return [state.pid for state in self._supervisor.states() if state.pid is not None]

    def cpu_s(self) -> float:
        """Return the CPU time of the engine's processes and their children so far."""
        return sum(_cpu_s(pid) for pid in self.pids())

    def _check_alive(self) -> None:
        for state in self._supervisor.states():
            if state.state == "failed":
                raise StackError(
                    f"{state.name} ended by itself:\n{log_tail(self._specs[state.name].log_path)}"
                )

    def _tails(self) -> str:
        return "\n".join(log_tail(spec.log_path) for spec in self._specs.values())


def names_of(run: str, engine: Engine, number: int, partitions: int) -> Names:
    """Return topic names that no other measurement of this broker uses."""
    return Names(f"{run}-{engine.name}-{number}.", partitions)


def _start(supervisor: Supervisor, started: Started) -> None:
    """Start processes one after the other, each when the one before is ready."""
    for spec in started.specs:
        _start_one(supervisor, spec)


def _start_one(supervisor: Supervisor, spec: ProcessSpec) -> None:
    supervisor.start(spec)
    supervisor.wait_ready(spec.name)


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process and its children; those that end meanwhile are left out."""
    used_s = 0.0
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for member in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                used = member.cpu_times()
                used_s += used.user + used.system
    return used_s
