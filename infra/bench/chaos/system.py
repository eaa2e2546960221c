"""The system under chaos: produces a running stack of real workers with a model, and does faults to it."""

import asyncio
import dataclasses
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from infra.bench.chaos.plan import WORKERS, Fault, Plan
from infra.bench.chaos.traffic import SOURCES, STREAM, reading
from infra.cli.worker import Worker
from infra.demo.feed import Event
from infra.demo.first_model import train, write_rows
from infra.local.errors import StackError
from infra.local.process import ProcessSpec
from infra.local.stack import Stack, StackSettings
from infra.local.workers import worker_specs
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Settings, load, load_config
from schemas import codec, topics
from schemas.errors import Fatal, HeadraceError
from schemas.record import Identity, Kind, Outgoing
from schemas.release import Release

T = TypeVar("T")

_HISTORY: Final = 600
_SETTLED_S: Final = 3.0
_PATIENCE_S: Final = 60.0
_LOOK_S: Final = 0.1


class StalledError(HeadraceError):
    """Nothing moves any more; the message says where, and which logs to read."""


class System:
    """The local stack in the run's folder: services of its own on free ports, and the three workers."""

    def __init__(self, plan: Plan, config: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._config = config
        self._say = say
        self._stack = Stack(plan.home, settings=StackSettings(usual_ports=False), progress=say)
        self._specs: dict[Worker, ProcessSpec] = {}
        self._settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """Return the settings that the workers run with."""
        if self._settings is None:
            raise StalledError("the stack was not started")
        return self._settings

    async def start(self) -> None:
        """Start the services, train the model beside, publish its release, start one worker of each kind.

        Raises:
            HeadraceError: something did not start, or the model could not be trained.
        """
        training = asyncio.create_task(self._train())
        try:
            await uninterrupted(self._stack.start)
            services = self._stack.endpoints
            addresses = {
                "HEADRACE_HOME": str(self._plan.home),
                "HEADRACE_CONFIG": str(self._config),
                "HEADRACE_KAFKA": services.kafka,
                "HEADRACE_REDIS": services.redis,
                "HEADRACE_CLICKHOUSE": services.clickhouse,
            }
            self._settings = load({**os.environ, **addresses})
            await create_topics(self._settings)
            release = await training
        finally:
            if not training.done():
                training.cancel()
                await asyncio.gather(training, return_exceptions=True)
        async with Publisher(self._settings, "headrace-chaos") as publisher:
            record = Outgoing(topics.RELEASES.name, release.model.encode(), codec.encode(release))
            await publisher.send(record)
        for spec, worker in zip(
            worker_specs(self._plan.home, str(self._config), WORKERS), WORKERS, strict=True
        ):
            # Services named in the environment must not draw the workers away from this run's own.
            self._specs[worker] = dataclasses.replace(spec, env={**spec.env, **addresses})
            await uninterrupted(lambda spec=self._specs[worker]: self._stack.add_worker(spec))  # type: ignore[misc]

    async def stop(self) -> None:
        """Stop everything; an interrupt meanwhile leaves no process behind."""
        await uninterrupted(self._stack.stop)

    async def do(self, fault: Fault) -> str:
        """Do one fault and return what was done, in words.

        Raises:
            StalledError: the process that it is aimed at does not come up.
        """
        name = member_name(fault.worker, fault.member)
        if fault.what == "kill":
            while True:
                await self._settled(name)
                with suppress(StackError):  # it ended by itself this very moment: its successor is hit
                    return f"kill -9 {name} (pid {self._stack.kill(name)})"
        if fault.what == "join":
            first = self._specs[fault.worker]
            log_path = first.log_path.with_name(f"{name}.log")
            spec = dataclasses.replace(first, name=name, log_path=log_path)
            await uninterrupted(lambda: self._stack.add_worker(spec))
            return f"{name} joins ({fault.member - 1} → {fault.member} {fault.worker.value})"
        await uninterrupted(lambda: self._stack.remove_worker(name))
        return f"{name} leaves ({fault.member} → {fault.member - 1} {fault.worker.value})"

    def restarts(self) -> dict[str, int]:
        """Return how often each worker was started again, after a kill or by itself."""
        ours = tuple(worker.value for worker in WORKERS)
        return {
            state.name: state.restarts for state in self._stack.processes() if state.name.startswith(ours)
        }

    def states(self) -> str:
        """Say in one line what runs, for a message about a stall."""
        return ", ".join(f"{state.name} {state.state}" for state in self._stack.processes())

    async def _settled(self, name: str) -> None:
        """Wait until a process has run long enough to have something in hand."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            state = next(state for state in self._stack.processes() if state.name == name)
            if state.state == "running" and state.started is not None:
                if (datetime.now(UTC) - state.started).total_seconds() >= _SETTLED_S:
                    return
            elif state.state in ("failed", "stopped"):
                raise StalledError(f"{name} is {state.state}. Log: {state.log_path}")
            await asyncio.sleep(_LOOK_S)
        raise StalledError(f"{name} did not come up within {_PATIENCE_S:.0f} s: {self.states()}")

    async def _train(self) -> Release:
        streams = load_config({"HEADRACE_CONFIG": str(self._config)}).streams
        history = [
            Event(
                due_s=float(number),
                identity=Identity(f"press/{number % SOURCES}", f"before-{number}"),
                stream=STREAM,
                kind=Kind.SENSOR,
                data=reading(number),
                label="",
                occurred_s=float(number),
            )
            for number in range(_HISTORY)
        ]
        rows = self._plan.home / "history.jsonl"
        if not await asyncio.to_thread(write_rows, streams, history, rows):
            raise Fatal("no event of the model's history passed the cleaning")
        release = await train(self._plan.home, self._config, STREAM, rows)
        self._say(f"first model trained: {release.model} v{release.version}")
        return release


def member_name(worker: Worker, member: int) -> str:
    """Return the process name of a group's member, counted from 1."""
    return worker.value if member == 1 else f"{worker.value}-{member}"


async def uninterrupted(work: Callable[[], T]) -> T:
    """Run blocking work in a thread; when cancelled, wait until it ended, then pass the cancellation on.

    A stack that one thread starts while another stops it would leave processes behind.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.gather(running, return_exceptions=True)
        raise
