"""`headrace bench ingest`: consumes a plan, runs the real stack under a steady load, produces the figures.

services → cleaning worker and sink, as `headrace up` runs them → one event all the way → warm-up → measured
seconds → drain → every id counted in ClickHouse. The load is a process of its own; this one asks what is
selectable (`probe` says how latency follows from that) and what the processes use.
"""

import asyncio
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np

from infra.bench.ingest.events import SOURCES, Maker, source_of
from infra.bench.ingest.figures import by_second, lag, latencies_ms, percentiles, summary
from infra.bench.ingest.generator import cancelled, ended, line, pids, started
from infra.bench.ingest.load import LoadReport, LoadSpec
from infra.bench.ingest.plan import WARM_UP_STREAM, IngestPlan
from infra.bench.ingest.probe import Probe
from infra.bench.ingest.usage import Usage
from infra.bench.ingest.workspace import prepare
from infra.bench.stack import Say, inside
from infra.cli.worker import Worker
from infra.local.stack import Stack
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Settings
from schemas import topics
from schemas.errors import Retryable
from schemas.record import Outgoing

WORKERS: Final = (Worker.STREAMS, Worker.SINK)
_UP_WITHIN_S: Final = 90.0
_DRAINED_WITHIN_S: Final = 60.0
_CHUNK_S: Final = 20
_LAST_LOOK_S: Final = 1.0
_TELL_EVERY_S: Final = 5.0


def execute(plan: IngestPlan, say: Say) -> dict[str, Any]:
    """Run the benchmark in a stack of its own and return its figures.

    Raises:
        HeadraceError: the stack did not start, or what was published never became selectable.
    """
    config = prepare(plan)

    async def measured(settings: Settings, stack: Stack) -> dict[str, Any]:
        return await measure(plan, settings, stack, say)

    return inside(plan.home, config, WORKERS, measured, say)


async def measure(plan: IngestPlan, settings: Settings, stack: Stack, say: Say) -> dict[str, Any]:
    """Publish, watch, wait until all is selectable, and count."""
    await create_topics(settings)
    async with AsyncExitStack() as opened:
        probe = await opened.enter_async_context(
            Probe(
                settings.endpoints.clickhouse,
                settings.config.database,
                settings.topic(topics.CLEAN),
            )
        )
        base_rows = await _all_up(plan, settings, probe)
        say("one event of every source is selectable; the load begins")
        spec = LoadSpec(
            settings.endpoints.kafka, settings.topic(topics.RAW), plan.kind, plan.rate, plan.total
        )
        generator = await started(spec)
        opened.push_async_callback(ended, generator)
        start_us = int(msgspec.json.decode(await line(generator))["start_us"])
        usage = Usage(partial(pids, stack, generator.pid))
        watching = [asyncio.create_task(probe.watch()), asyncio.create_task(usage.watch())]
        opened.push_async_callback(cancelled, watching)
        telling = asyncio.create_task(_tell(plan, probe, usage, start_us / 1e6, base_rows, say))
        opened.push_async_callback(cancelled, [telling])
        report = msgspec.json.decode(await line(generator), type=LoadReport)
        loaded_s = time.time()
        await _drained(probe, base_rows + report.sent)
        await asyncio.sleep(_LAST_LOOK_S)  # one more sighting, so that every event lies before one
        await cancelled([telling])
        say("everything is in; checking every id")
        counts = await probe.counts()
        from_s = start_us / 1e6 + plan.warm_up_s
        latency, seconds = await _latency(plan, probe, settings, start_us)
        return summary(
            plan,
            report,
            counts=counts,
            latency=latency,
            seconds=seconds,
            samples=usage.between(from_s, loaded_s),
            lags=lag(probe.sightings, start_us / 1e6, plan, base_rows),
            reached=_reached(probe, from_s, from_s + plan.seconds),
        )


async def _all_up(plan: IngestPlan, settings: Settings, probe: Probe) -> int:
    """Send one event of every source, of another stream, and wait for them; return the rows there are."""
    maker = Maker(plan.kind, (WARM_UP_STREAM,))
    async with Publisher(settings, "headrace-bench-ready") as publisher:
        before, now_us = await probe.rows(), time.time_ns() // 1000
        await publisher.send_all(
            [
                Outgoing(topics.RAW.name, source_of(number), maker.make(number, now_us))
                for number in range(SOURCES)
            ]
        )
    await _rows_reach(probe, before + SOURCES, _UP_WITHIN_S)
    return before + SOURCES


async def _rows_reach(probe: Probe, wanted: int, within_s: float) -> None:
    """Wait for rows, as long as more of them come."""
    deadline, seen = time.monotonic() + within_s, -1
    while True:
        rows = await probe.rows()
        if rows >= wanted:
            return
        if rows != seen:
            seen, deadline = rows, time.monotonic() + within_s
        if time.monotonic() > deadline:
            raise Retryable(f"{rows} of {wanted} rows are selectable, and no more came in {within_s:.0f} s")
        await asyncio.sleep(0.1)


async def _drained(probe: Probe, wanted: int) -> None:
    """Wait for the last event; what is missing in the end is counted as lost, not raised."""
    try:
        await _rows_reach(probe, wanted, _DRAINED_WITHIN_S)
    except Retryable as error:
        sys.stderr.write(f"{error}\n")


async def _tell(
    plan: IngestPlan, probe: Probe, usage: Usage, start_s: float, base_rows: int, say: Say
) -> None:
    """Say every few seconds how it goes."""
    while True:
        await asyncio.sleep(_TELL_EVERY_S)
        if not probe.sightings or not usage.samples:
            continue
        rows = probe.sightings[-1].rows - base_rows
        due = min(plan.total, max(0, int((time.time() - start_s) * plan.rate)))
        memory = sum(usage.samples[-1].rss_bytes.values()) / 2**20
        stage = "warm-up" if time.time() - start_s < plan.warm_up_s else "measuring"
        say(f"{stage}: {due} published, {rows} selectable ({due - rows} under way), {memory:.0f} MiB")


async def _latency(
    plan: IngestPlan, probe: Probe, settings: Settings, start_us: int
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Read back when each measured event was due, and compare with when it was seen."""
    begin = start_us + int(plan.warm_up_s * 1e6)
    end = begin + int(plan.seconds * 1e6)
    due: list[Any] = []
    took: list[Any] = []
    sightings = probe.sightings
    for from_us in range(begin, end, _CHUNK_S * 1_000_000):
        to_us = min(end, from_us + _CHUNK_S * 1_000_000)
        for partition in range(topics.CLEAN.partitions):
            pairs = np.frombuffer(await probe.times(partition, from_us, to_us), dtype="<i8").reshape(-1, 2)
            took.append(latencies_ms(sightings, partition, pairs[:, 0], pairs[:, 1]))
            due.append(pairs[:, 1] / 1e6)
    values, moments = np.concatenate(took), np.concatenate(due)
    return percentiles(values), by_second(moments, values)


def _reached(probe: Probe, from_s: float, to_s: float) -> float:
    """Return how many rows became selectable a second between two moments."""
    inside = [one for one in probe.sightings if from_s <= one.at_s <= to_s]
    if len(inside) < 2 or inside[-1].at_s <= inside[0].at_s:
        return 0.0
    return (inside[-1].rows - inside[0].rows) / (inside[-1].at_s - inside[0].at_s)
