"""The system under test: produces a broker and a Flink cluster with a job, and does faults to them."""

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from infra.bench.chaos.system import StalledError, uninterrupted
from infra.bench.flink.plan import BROKER, Fault, FlinkPlan
from infra.bench.flink.watch import Watch
from infra.flink import control
from infra.flink.cluster import Shape
from infra.flink.jobs import module_of
from infra.flink.supervise import running
from infra.local.process import Supervisor
from infra.local.stack import Stack, StackSettings
from infra.runtime.kafka.admin import create_topics
from infra.runtime.settings import Settings, load

_JOB: Final = "clean"
_NOWHERE: Final = "http://default:@127.0.0.1:1"
_STEADY_S: Final = 0.5
_BACK_WITHIN_S: Final = 90.0


class System:
    """Kafka under one supervisor and Flink under another, in one folder; ClickHouse is left out."""

    def __init__(self, plan: FlinkPlan, config: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._config = config
        self._say = say
        services = StackSettings(clickhouse=_NOWHERE, usual_ports=False)
        self._stack = Stack(plan.home, settings=services, progress=say)
        self._cleanup = ExitStack()
        self._flink: Supervisor | None = None
        self._settings: Settings | None = None
        self.watch: Watch | None = None
        self.back_s: list[tuple[str, float]] = []

    @property
    def settings(self) -> Settings:
        """Return the settings that the job runs with."""
        if self._settings is None:
            raise StalledError("the stack was not started")
        return self._settings

    async def start(self) -> None:
        """Start the services, the cluster and the job.

        Raises:
            HeadraceError: something did not start.
        """
        await uninterrupted(self._stack.start)
        addresses = {
            "HEADRACE_HOME": str(self._plan.home),
            "HEADRACE_CONFIG": str(self._config),
            "HEADRACE_KAFKA": self._stack.endpoints.kafka,
        }
        self._settings = load({**os.environ, **addresses})
        await create_topics(self._settings)
        shape = Shape(taskmanagers=1, slots=self._plan.parallelism)
        entered = running(self._plan.home, shape, self._say)
        self._flink = await uninterrupted(partial(self._cleanup.enter_context, entered))
        cluster = control.cluster_of(self._plan.home)
        options = ["--checkpoint-ms", "1000", "--config", str(self._config)]
        options += ["--bootstrap", self._stack.endpoints.kafka]
        await uninterrupted(
            partial(control.run, cluster, _JOB, module_of(_JOB), self._plan.parallelism, options)
        )
        self._say("the job runs")
        self.watch = Watch(self._settings, self._plan.events)

    async def stop(self) -> None:
        """Stop everything; an interrupt meanwhile leaves no process behind."""
        await uninterrupted(self._cleanup.close)
        await uninterrupted(self._stack.stop)

    async def do(self, fault: Fault) -> str:
        """Do one fault, wait until output goes on, and say what was done.

        Raises:
            StalledError: it does not go on.
        """
        if self.watch is None or self._flink is None:
            raise StalledError("the cluster was not started")
        await asyncio.sleep(_STEADY_S)  # so that something is in hand
        supervisor = self._stack if fault.process == BROKER else self._flink
        killed_s = time.monotonic()
        pid = supervisor.kill(fault.process)
        back_s = await self.watch.back_s(killed_s, _BACK_WITHIN_S)
        done = f"kill -9 {fault.process} (pid {pid})"
        if back_s is None:
            return f"{done}, everything had come out"
        self.back_s.append((fault.process, round(back_s, 1)))
        return f"{done}, output goes on after {back_s:.1f} s"

    def restarts(self) -> dict[str, int]:
        """Return how often each process was started again."""
        flink = self._flink.states() if self._flink is not None else []
        return {state.name: state.restarts for state in [*self._stack.processes(), *flink]}
