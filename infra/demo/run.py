"""`headrace demo`: produces a running system, real traffic into it, and the figures of what came of it.

set-up → baseline → drift → (alert → release → swap, by the system itself) → after → drain → check → report
"""

import asyncio
import signal
import time
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from infra.cli.worker import Worker
from infra.demo import report
from infra.demo.check import Outcome, collect
from infra.demo.conductor import Conductor, StuckError
from infra.demo.display import Display, display_for
from infra.demo.feed import Event, Feed
from infra.demo.ledger import Ledger
from infra.demo.moments import Moments
from infra.demo.plan import Plan
from infra.demo.recording import Recorded, load
from infra.demo.replay import Replay
from infra.demo.sender import Sender
from infra.demo.story import Story
from infra.demo.summary import summary
from infra.demo.system import System
from infra.demo.traffic import Traffic
from infra.demo.watch import Watch
from infra.demo.webhook import WebhookReceiver
from infra.demo.workspace import prepare, write_config
from infra.figures import write_figures
from infra.runtime import log
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import DEFAULT_CONFIG, parse
from schemas.record import Kind

_HISTORY_SEED: Final = 1009
_HISTORY_SHARE: Final = 0.25
_INTERRUPTED: Final = 130


def execute(plan: Plan) -> int:
    """Run the demo and return the exit status: 0 when it showed all that it must, 130 when interrupted."""
    log.configure("demo", level="error")
    try:
        return asyncio.run(_terminable(plan))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _INTERRUPTED


async def _terminable(plan: Plan) -> int:
    """Let SIGTERM (`headrace down`) end the demo as Ctrl-C does: in order."""
    task = asyncio.ensure_future(run(plan))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


async def run(plan: Plan) -> int:
    """Run the demo in the present event loop and return its exit status."""
    return 1 if (await played(plan)).shortcomings else 0


async def played(plan: Plan) -> Story:
    """Run the demo in the present event loop and return what came of it."""
    began = time.monotonic()
    recorded = load(plan.replay, _kind_of(plan.stream)) if plan.replay else []
    prepare(plan.home)
    with display_for(lambda: time.monotonic() - began, to_stderr=plan.json_path == "-") as display:
        async with AsyncExitStack() as opened:
            webhook = await opened.enter_async_context(WebhookReceiver())
            config = _config(plan, webhook, recorded)
            system = System(plan, config, display)
            opened.push_async_callback(_stopped, system, display)
            feed, history = _feed(plan, recorded)
            await system.start(history, _workers(plan))
            display.say(f"everything is up after {time.monotonic() - began:.0f} s; gateway {system.gateway}")
            outcome = await _traffic(plan, display, system, feed, webhook, served=bool(history))
            _deliver(plan, display, outcome)
            if plan.keep_up:
                await _kept_up(plan, display, system)
            return outcome.story


async def _traffic(
    plan: Plan, display: Display, system: System, feed: Feed, webhook: WebhookReceiver, *, served: bool
) -> Outcome:
    """Lead the run and collect what came of it, also when it got stuck."""
    ledger, moments = Ledger(), Moments()
    began = time.monotonic()
    stuck = ""
    async with AsyncExitStack() as opened:
        publisher = await opened.enter_async_context(Publisher(system.settings, "headrace-demo"))
        sender = Sender(
            system.gateway, publisher, ledger, batches=plan.replay is not None and plan.rate > 200
        )
        await opened.enter_async_context(sender)
        watch = Watch(system.settings, plan.stream)
        conductor = Conductor(plan, display, ledger, watch, sender, moments, lambda: time.monotonic() - began)
        watch.told = conductor.told
        watching = asyncio.create_task(watch.run(), name="demo-watch")
        opened.push_async_callback(_cancelled, watching)
        conducting = asyncio.create_task(
            conductor.generator(feed) if isinstance(feed, Traffic) else conductor.replay(feed, served=served)
        )
        opened.push_async_callback(_cancelled, conducting)
        await asyncio.wait({watching, conducting}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            raise StuckError(f"the demo can no longer watch: {_cause(watching.exception())}")
        try:
            conducting.result()
        except StuckError as error:
            stuck = str(error)
            display.say(f"STUCK: {stuck}", "bold red")
        return await collect(plan, system.settings, conductor, webhook, stuck)


def _deliver(plan: Plan, display: Display, outcome: Outcome) -> None:
    """Print the summary, write the report and the JSON."""
    display.summary(summary(outcome.story))
    if plan.report_path is not None:
        report.write(outcome.story, plan.report_path)
        display.say(f"report: {plan.report_path}")
    write_figures(outcome.story.figures.as_json(), plan.json_path)


async def _kept_up(plan: Plan, display: Display, system: System) -> None:
    """Hold the stack until Ctrl-C here or `headrace down` elsewhere."""
    services = system.settings.endpoints
    display.say(f"the stack stays up: Kafka {services.kafka}, gateway {system.gateway}")
    display.say(
        f"look around with HEADRACE_HOME={plan.home}; end it with Ctrl-C or headrace down --home {plan.home}"
    )
    with suppress(asyncio.CancelledError):  # that is how it ends, with the status that the run came to
        await asyncio.Event().wait()


def _cause(error: BaseException | None) -> str:
    """Return the first cause inside the groups that tasks raise."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return repr(error)


async def _stopped(system: System, display: Display) -> None:
    display.say("stopping the stack; its data stay")
    await system.stop()


async def _cancelled(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _config(plan: Plan, webhook: WebhookReceiver, recorded: list[Recorded]) -> Path:
    kind = recorded[0].kind if recorded else Kind.API
    return write_config(plan, webhook.url, kind=kind, labelled=any(one.label for one in recorded))


def _feed(plan: Plan, recorded: list[Recorded]) -> tuple[Feed, list[Event]]:
    """Return what is sent, and the events that lie before it, for the first model (none: it starts cold)."""
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    if plan.replay is None:
        traffic = Traffic(plan.seed, plan.rate, run_id)
        before = Traffic(plan.seed + _HISTORY_SEED, plan.rate, f"{run_id}-before")
        return traffic, before.history(plan.phases.history)
    labelled = any(one.label for one in recorded)
    if not labelled and recorded[0].kind is not Kind.SENSOR:
        return Replay(recorded, stream=plan.stream, run=run_id, rate=plan.rate, seed=plan.seed), []
    size = plan.replay.history if plan.replay.history is not None else int(len(recorded) * _HISTORY_SHARE)
    whole = Replay(recorded, stream=plan.stream, run=f"{run_id}-before", rate=plan.rate, seed=plan.seed)
    history = [whole.event(number, number / plan.rate) for number in range(size)]
    return Replay(recorded[size:], stream=plan.stream, run=run_id, rate=plan.rate, seed=plan.seed), history


def _workers(plan: Plan) -> list[Worker]:
    """A replay into a stream that this host feeds by itself takes its place."""
    own = plan.replay is not None and plan.stream in ("host", "logs")
    return [worker for worker in Worker if not (own and worker is Worker.SOURCES)]


def _kind_of(stream: str) -> Kind | None:
    """Return the kind of one of the built-in streams."""
    known = parse(DEFAULT_CONFIG, "the built-in configuration").streams.get(stream)
    return known.kind if known else None
