"""`headrace bench chaos`: consumes a plan, produces a running system, faults to it, and what came of both.

set-up → publish, with kills and rebalances meanwhile → drain, hop by hop → compare every id → figures
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiokafka.errors import KafkaError

from infra.bench.chaos.check import Places, read_all
from infra.bench.chaos.display import Display, Snapshot
from infra.bench.chaos.drain import Progress
from infra.bench.chaos.outcome import Happened, Outcome, summary
from infra.bench.chaos.plan import Fault, Plan, schedule
from infra.bench.chaos.storm import Storm
from infra.bench.chaos.system import System
from infra.bench.chaos.traffic import Nature, Traffic
from infra.bench.chaos.watch import Watch
from infra.bench.chaos.workspace import prepare
from infra.bench.stack import terminable
from infra.figures import write_figures
from infra.runtime import log
from infra.runtime.kafka.produce import Publisher
from schemas.errors import HeadraceError

_INTERRUPTED: Final = 130
_SHOW_EVERY_S: Final = 0.25


def execute(plan: Plan) -> int:
    """Run it; return 0 when nothing was lost or doubled, 1 when it was, 130 when interrupted."""
    log.configure("bench", level="error")
    try:
        return asyncio.run(terminable(lambda: _delivered(plan)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _INTERRUPTED


async def _delivered(plan: Plan) -> int:
    began = time.monotonic()
    with Display(lambda: time.monotonic() - began, to_stderr=plan.json_path == "-") as display:
        outcome = await Run(plan, display).run()
        display.summary(summary(outcome))
        write_figures(outcome.as_json(), plan.json_path)
    return 1 if outcome.shortcomings() else 0


class Run:
    """One run, from an empty folder to the outcome."""

    def __init__(self, plan: Plan, display: Display) -> None:
        self._plan = plan
        self._display = display
        self._began = time.monotonic()
        self._timeline: list[Happened] = []
        self._phase = "set-up"

    async def run(self) -> Outcome:
        """Run it and return the outcome; being given up is one, what cannot start at all is raised.

        Raises:
            HeadraceError: the stack or a worker did not start.
        """
        plan = self._plan
        system = System(plan, prepare(plan.home), self._display.say)
        storm = Storm(plan, schedule(plan), lambda: 0, self._happened)
        places: Places | None = None
        stalled = ""
        restarts: dict[str, int] = {}
        try:
            await system.start()
            self._happened("the stack and its workers are up")
            watch = Watch(system.settings, plan.events)
            storm = Storm(plan, schedule(plan), lambda: watch.through, self._happened)
            try:
                async with background(watch.run()), background(self._shown(watch, storm)):
                    await self._published(system, storm, watch)
                    self._phase = "drain"
                    places = await read_all(
                        plan, system.settings, storm.sent.natures[Nature.BAD], self._happened
                    )
            except* (HeadraceError, KafkaError) as group:
                stalled = f"given up: {first_cause(group)}; {system.states()}. Logs: {plan.home / 'log'}"
                self._happened(stalled)
            restarts = system.restarts()
        finally:
            self._display.say("stopping the stack; its data stay")
            await system.stop()
        return Outcome(
            plan=plan,
            sent=storm.sent,
            done=storm.done,
            seconds=time.monotonic() - self._began,
            places=places,
            stalled=stalled,
            restarts=restarts,
            timeline=self._timeline,
        )

    async def _published(self, system: System, storm: Storm[Fault], watch: Watch) -> None:
        """Send everything and do every fault; a stall ends both."""
        self._phase = "chaos"
        publisher = Publisher(system.settings, "headrace-chaos", linger_ms=5)
        async with publisher, background(self._unstalled(watch, storm)), asyncio.TaskGroup() as group:
            group.create_task(storm.publish(publisher, Traffic(self._plan)))
            group.create_task(storm.break_things(system))
        self._happened(f"everything is sent: {storm.sent.distinct:,} events, {storm.sent.copies:,} copies")

    async def _unstalled(self, watch: Watch, storm: Storm[Fault]) -> None:
        """Watch that something moves.

        Raises:
            StalledError: nothing did for too long.
        """

        def where() -> str:
            places = ", ".join(f"{name} {count:,}" for name, count in watch.counts().items())
            return f"{storm.sent.distinct:,} events sent; {places}"

        progress = Progress(self._plan.stall_s, where)
        while True:
            progress.see((storm.sent.distinct, len(storm.done), watch.counts()))
            await asyncio.sleep(_SHOW_EVERY_S)

    async def _shown(self, watch: Watch, storm: Storm[Fault]) -> None:
        while True:
            self._display.show(
                Snapshot(
                    elapsed_s=time.monotonic() - self._began,
                    phase=self._phase,
                    events=self._plan.events,
                    sent=storm.sent.distinct,
                    faults=len(storm.done),
                    faults_planned=self._plan.kills + self._plan.rebalances,
                    counts=watch.counts(),
                )
            )
            await asyncio.sleep(_SHOW_EVERY_S)

    def _happened(self, what: str) -> None:
        self._timeline.append(Happened(time.monotonic() - self._began, what))
        self._display.say(what)


@asynccontextmanager
async def background(work: Any) -> AsyncIterator[None]:
    """Run a coroutine beside a block; its failure ends the block, the block's end cancels it."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work)
        yield
        task.cancel()


def first_cause(error: BaseException) -> BaseException:
    """Return the first cause inside the groups that tasks raise."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
