"""Hot swaps under full load, live: consumes a plan, produces what was lost, doubled or mixed, and latencies.

Broker and serving worker run as `headrace up` runs them, on this machine. Clean events come by a schedule:
event n is due at start + n / rate whatever became of those before it, and its latency, up to a read-committed
consumer of `predictions`, counts from there. *Full load* is seven tenths of what the worker answers a second
when it never waits; above that, waiting grows without bound and tells nothing of swaps.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import numpy as np

from infra.bench.answers import Load, Seen, serving
from infra.bench.ingest.generator import cancelled
from infra.bench.stack import Say, inside
from infra.bench.swap.bad import bad_releases
from infra.bench.swap.check import entries, verdict
from infra.bench.swap.models import label_of, questions, two
from infra.bench.swap.plan import STREAM, Family, SwapPlan
from infra.local.stack import Stack
from infra.local.workspace import claim
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Settings
from schemas.release import Release
from serving.follow_releases import REJECTED, SWAPPED
from trainers.succession import announcement

MARKER: Final = ".headrace-bench-swap"
_BURST: Final = {Family.TEXT: 1500, Family.SENSOR: 20_000}
_FULL: Final = 0.7
_WARM_S: Final = 5.0


def execute(plan: SwapPlan, say: Say) -> dict[str, Any]:
    """Run the benchmark in a stack of its own and return its figures.

    Raises:
        HeadraceError: the stack did not start, a model could not be trained, or a swap did not come.
    """
    claim(plan.home, "headrace bench swap", MARKER)
    config = plan.home / "headrace.toml"
    config.write_text(plan.config(), encoding="utf-8")

    async def measure(settings: Settings, stack: Stack) -> dict[str, Any]:
        return await _measure(plan, settings, stack, say)

    return inside(plan.home, config, (), measure, say)


async def _measure(plan: SwapPlan, settings: Settings, stack: Stack, say: Say) -> dict[str, Any]:
    await create_topics(settings)
    stream = settings.config.streams[STREAM]
    say("training two models")
    releases = await asyncio.to_thread(two, plan, stream)
    async with AsyncExitStack() as opened:
        publisher, seen = await opened.enter_async_context(serving(settings, stack, releases[0]))
        load = Load(publisher, questions(plan, stream, datetime.now(UTC)))
        bears = await _capacity(plan, load, seen)
        rate = plan.rate or round(_FULL * bears, 1)
        say(f"it answers {bears:,.0f} events/s when it never waits; the load is {rate:,.0f} events/s")
        loading = asyncio.create_task(load.run(rate))
        opened.push_async_callback(cancelled, [loading])
        begun = time.time()
        await asyncio.sleep(_WARM_S + plan.steady_s)
        swapping = time.time()
        await _swap(plan, releases, publisher, seen, say)
        refusing = time.time()
        refused = await _refuse(plan, settings, releases[plan.swaps % 2], publisher, seen, say)
        ended = time.time()
        await cancelled([loading])
        await seen.until(lambda: len(seen.received_s) >= len(load.due_s), "the last answers")
        spans = {"steady": (begun + _WARM_S, swapping), "swapping": (swapping, refusing)}
        if plan.bad:
            spans["refusing"] = (refusing, ended)
        return {**_figures(plan, rate, bears, load, seen, spans), "bad": refused}


async def _capacity(plan: SwapPlan, load: Load, seen: Seen) -> float:
    """Return how many events a second the worker answers when it never waits."""
    await load.burst(100)
    await seen.until(lambda: len(seen.received_s) >= 100, "the first answers")
    before = len(seen.received_s)
    began = time.monotonic()
    ids = await load.burst(_BURST[plan.family])
    await seen.until(lambda: len(seen.received_s) >= before + len(ids), "the burst's answers")
    return len(ids) / (time.monotonic() - began)


async def _swap(
    plan: SwapPlan, releases: tuple[Release, Release], publisher: Publisher, seen: Seen, say: Say
) -> None:
    """Announce the other version, again and again, each once the one before it has taken over."""
    for number in range(1, plan.swaps + 1):
        await publisher.send(announcement(releases[number % 2]))
        await seen.until(partial(seen.has_taken_over, number + 1), f"swap {number}")
        if number % 10 == 0 or number == plan.swaps:
            say(f"{number} of {plan.swaps} swaps")
        await asyncio.sleep(plan.pause_s)


async def _refuse(
    plan: SwapPlan, settings: Settings, good: Release, publisher: Publisher, seen: Seen, say: Say
) -> dict[str, Any]:
    """Announce releases that must not serve, one after the other; tell which were rejected, and why."""
    reasons: dict[str, str] = {}
    rejected = pushed = 0
    folder = settings.releases / STREAM / str(good.version)
    for bad in bad_releases(good, folder, plan.home / "elsewhere", plan.bad):
        await publisher.send(announcement(bad.release))
        pushed += 1
        decided = partial(seen.decision, bad.release.version)
        await seen.until(decided, f"the decision about a release that is bad ({bad.kind})")
        swap = seen.decision(bad.release.version)
        if swap is not None and swap.outcome == REJECTED:
            rejected += 1
            reasons[bad.kind] = swap.message
    if pushed:
        say(f"{rejected} of {pushed} bad releases rejected")
    return {"pushed": pushed, "rejected": rejected, "reasons": reasons}


def _figures(
    plan: SwapPlan, rate: float, bears: float, load: Load, seen: Seen, spans: dict[str, tuple[float, float]]
) -> dict[str, Any]:
    lost, doubled, mixed = verdict(load.due_s, seen.predictions, seen.swaps, label_of)
    waits = {
        name: [
            (seen.received_s[event] - due) * 1000
            for event, due in load.due_s.items()
            if start <= due < end and event in seen.received_s
        ]
        for name, (start, end) in spans.items()
    }
    loads = [swap.load_ms for swap in seen.swaps if swap.outcome == SWAPPED]
    return {
        "swaps": plan.swaps,
        "failed": seen.dead + sum(swap.version in (1, 2) and swap.outcome == REJECTED for swap in seen.swaps),
        "lost": lost,
        "doubled": doubled,
        "mixed": mixed,
        "p99_ms": {name: _percentile(values, 99) for name, values in waits.items()},
        "p50_ms": {name: _percentile(values, 50) for name, values in waits.items()},
        "max_ms": {name: _percentile(values, 100) for name, values in waits.items()},
        "events": {name: len(values) for name, values in waits.items()},
        "family": plan.family.value,
        "rate": rate,
        "bears": round(bears, 1),
        "load_ms": {"p50": _percentile(loads, 50), "max": _percentile(loads, 100)},
        "ledger_entries": sum(map(len, entries(seen.swaps).values())),
        "seconds": {name: round(end - start, 1) for name, (start, end) in spans.items()},
    }


def _percentile(values: list[float], share: int) -> float | None:
    return round(float(np.percentile(values, share)), 2) if values else None
