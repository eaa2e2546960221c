"""`headrace bench flink`: consumes a plan, produces a cleaning job under kills, and what came of its events.

set-up → publish, with kills meanwhile → wait until the job has read everything → compare every id → figures
"""

import asyncio
import logging
import time
from collections import Counter
from typing import Final

from aiokafka.errors import KafkaError

from infra.bench.chaos.check import bad_number
from infra.bench.chaos.copies import Copies
from infra.bench.chaos.display import Display, Snapshot
from infra.bench.chaos.drain import group_reached, raw_ends
from infra.bench.chaos.run import background, first_cause
from infra.bench.chaos.storm import Storm
from infra.bench.chaos.traffic import Nature, Traffic
from infra.bench.chaos.watch import named
from infra.bench.chaos.workspace import prepare
from infra.bench.flink.outcome import Outcome, summary
from infra.bench.flink.plan import Fault, FlinkPlan, schedule
from infra.bench.flink.system import System
from infra.bench.flink.watch import Watch
from infra.bench.stack import terminable
from infra.figures import write_figures
from infra.runtime import log
from infra.runtime.kafka.follow import follow
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Settings
from schemas import codec, topics
from schemas.dead import Dead
from schemas.errors import HeadraceError
from streams.apps.clean import GROUP

_INTERRUPTED: Final = 130
_SHOW_EVERY_S: Final = 0.25
_LINGER_MS: Final = 5
COMMAND: Final = "headrace bench flink"


def execute(plan: FlinkPlan) -> int:
    """Run it; return 0 when nothing was lost or doubled, 1 when it was, 130 when interrupted."""
    log.configure("bench", level="error")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the broker is away at times: that is the test
    try:
        return asyncio.run(terminable(lambda: _delivered(plan)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _INTERRUPTED


async def _delivered(plan: FlinkPlan) -> int:
    began = time.monotonic()
    with Display(lambda: time.monotonic() - began, to_stderr=plan.json_path == "-", title=COMMAND) as display:
        outcome = await run(plan, display)
        display.summary(summary(outcome))
        write_figures(outcome.as_json(), plan.json_path)
    return 1 if outcome.shortcomings() else 0


async def run(plan: FlinkPlan, display: Display) -> Outcome:
    """Run it and return the outcome; being given up is one, what cannot start at all is raised.

    Raises:
        HeadraceError: the broker, the cluster or the job did not start.
    """
    system = System(plan, prepare(plan.home, COMMAND), display.say)
    outcome = Outcome(plan)
    try:
        await system.start()
        assert system.watch is not None  # noqa: S101  # it has started
        watch = system.watch
        storm = Storm(plan.traffic, schedule(plan), lambda: watch.clean.distinct, display.say)
        began = time.monotonic()
        try:
            async with background(watch.run()), background(_shown(plan, watch, storm, display)):
                publisher = Publisher(system.settings, "headrace-bench", linger_ms=_LINGER_MS)
                async with publisher, asyncio.TaskGroup() as group:
                    group.create_task(storm.publish(publisher, Traffic(plan.traffic)))
                    group.create_task(storm.break_things(system))
                display.say(f"everything is sent: {storm.sent.distinct:,} events; waiting for the job")
                await _through(plan, system.settings)
            outcome.seconds = time.monotonic() - began
            await _read(system.settings, plan, storm.sent.natures[Nature.BAD], outcome)
        except* (HeadraceError, KafkaError) as group:
            outcome.stalled = f"given up: {first_cause(group)}. Logs: {plan.home}"
            display.say(outcome.stalled)
        outcome.sent, outcome.faults = storm.sent, len(storm.done)
        outcome.back_s, outcome.restarts = system.back_s, system.restarts()
    finally:
        display.say("stopping the cluster and the broker; their data stay")
        await system.stop()
    return outcome


async def _through(plan: FlinkPlan, settings: Settings) -> None:
    """Wait until the job has committed that it has read everything, and what it forwarded to itself."""
    await group_reached(settings, GROUP, await raw_ends(settings), plan.stall_s)
    ends: dict[tuple[str, int], int] = {}
    async for record in follow(settings, [topics.REKEYED], stop_at_end=True):
        ends[record.topic, record.partition] = record.offset + 1
    await group_reached(settings, GROUP, ends, plan.stall_s)


async def _read(settings: Settings, plan: FlinkPlan, bad: int, outcome: Outcome) -> None:
    """Count every id on the output topics, read anew and read committed."""
    clean, dead, reasons = Copies(plan.events), Copies(bad), Counter[str]()
    async for record in follow(settings, [topics.CLEAN, topics.DEAD], stop_at_end=True):
        if record.topic == settings.topic(topics.CLEAN):
            clean.add(named.decode(record.value or b"").id)
            continue
        found = codec.decode(record.value or b"", Dead)
        dead.add(bad_number(found.original))
        reasons[found.reason.value] += 1
    outcome.clean, outcome.dead, outcome.reasons = clean, dead, reasons


async def _shown(plan: FlinkPlan, watch: Watch, storm: Storm[Fault], display: Display) -> None:
    began = time.monotonic()
    while True:
        counts = {"clean": watch.clean.distinct}
        display.show(
            Snapshot(
                elapsed_s=time.monotonic() - began,
                phase="chaos",
                events=plan.events,
                sent=storm.sent.distinct,
                faults=len(storm.done),
                faults_planned=plan.faults,
                counts=counts,
            )
        )
        await asyncio.sleep(_SHOW_EVERY_S)
