"""From a drifted window's close to its alert: runs the real stack under full load, produces latencies.

Broker, cleaning worker, sink, ClickHouse and the drift worker run as `headrace up` runs them, with the load
beside, on this machine. An event's time is the moment at which it is due to be published, so a window closes
when its last event is due; an alert counts once a read-committed consumer of `alerts.drift` has it.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

import msgspec

from infra.bench.drift.plan import STREAMS, LivePlan
from infra.bench.ingest.generator import cancelled, ended, line, pids, started
from infra.bench.ingest.load import LoadReport, LoadSpec
from infra.bench.ingest.usage import Usage, cores
from infra.bench.stack import Say, inside
from infra.cli.worker import Worker
from infra.local.stack import Stack
from infra.local.workspace import claim
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.follow import follow
from infra.runtime.settings import Settings
from schemas import topics
from schemas.codec import decode
from schemas.drift import DriftAlert

MARKER: Final = ".headrace-bench-drift"
WORKERS: Final = (Worker.STREAMS, Worker.SINK, Worker.DRIFT)
_GRACE_S: Final = 30.0


def execute(plan: LivePlan, say: Say) -> dict[str, Any]:
    """Run the live part in a stack of its own and return its figures.

    Raises:
        HeadraceError: the stack did not start, or the load failed.
    """
    claim(plan.home, "headrace bench drift", MARKER)
    config = plan.home / "headrace.toml"
    config.write_text(plan.config(), encoding="utf-8")

    async def measured(settings: Settings, stack: Stack) -> dict[str, Any]:
        return await _measure(plan, settings, stack, say)

    return inside(plan.home, config, WORKERS, measured, say)


async def _measure(plan: LivePlan, settings: Settings, stack: Stack, say: Say) -> dict[str, Any]:
    """Publish, wait for the alert of every stream, and compare."""
    await create_topics(settings)
    async with AsyncExitStack() as opened:
        seen: dict[str, tuple[DriftAlert, float]] = {}
        everyone = asyncio.Event()
        watching = asyncio.create_task(_alerts(settings, seen, everyone, say))
        opened.push_async_callback(cancelled, [watching])
        spec = LoadSpec(
            settings.endpoints.kafka, settings.topic(topics.RAW), plan.kind, plan.rate, plan.total,
            streams=STREAMS, shift_from=plan.shift_from,
        )  # fmt: skip
        generator = await started(spec)
        opened.push_async_callback(ended, generator)
        start_s = int(msgspec.json.decode(await line(generator))["start_us"]) / 1e6
        say(f"{plan.rate:,.0f} events/s; the streams begin to drift after {plan.steady_s:.0f} s")
        usage = Usage(partial(pids, stack, generator.pid))
        sampling = asyncio.create_task(usage.watch())
        opened.push_async_callback(cancelled, [sampling])
        report = msgspec.json.decode(await line(generator), type=LoadReport)
        loaded_s = time.time()
        try:
            await asyncio.wait_for(everyone.wait(), _GRACE_S)
        except TimeoutError:
            say(f"no alert of {sorted(set(STREAMS) - set(seen))} within {_GRACE_S:.0f} s after the load")
        return _figures(plan, seen, start_s, report, cores(usage.between(start_s, loaded_s)))


async def _alerts(
    settings: Settings, seen: dict[str, tuple[DriftAlert, float]], everyone: asyncio.Event, say: Say
) -> None:
    """Note the first alert of each stream, and when it could be read."""
    async for record in follow(settings, [topics.ALERTS]):
        now_s = time.time()
        alert = decode(record.value or b"", DriftAlert)
        if alert.stream in STREAMS and not alert.recovered and alert.stream not in seen:
            seen[alert.stream] = (alert, now_s)
            say(f"alert {now_s - alert.window_to.timestamp():.2f} s after its window: {alert.summary}")
        if len(seen) == len(STREAMS):
            everyone.set()


def _figures(
    plan: LivePlan,
    seen: dict[str, tuple[DriftAlert, float]],
    start_s: float,
    report: LoadReport,
    used: dict[str, float],
) -> dict[str, Any]:
    """Put the figures together; times in seconds."""
    began = {name: start_s + at / plan.rate for name, at in zip(STREAMS, plan.shift_from, strict=True)}
    # An alert before its stream drifted is a false one, and no latency.
    false = [name for name, (_, at_s) in seen.items() if at_s < began[name]]
    after_close = {
        name: round(at_s - alert.window_to.timestamp(), 3)
        for name, (alert, at_s) in seen.items()
        if name not in false
    }
    since_drift = {name: round(seen[name][1] - began[name], 3) for name in after_close}
    return {
        "rate": plan.rate,
        "window_s": plan.window_s,
        "kind": plan.kind.value,
        "sent": report.sent,
        "not_acknowledged": report.failed,
        "load_late_ms": round(report.late_ms, 1),
        "alert_after_window_close_s": after_close,
        "alert_after_drift_began_s": since_drift,
        "false": false,
        "missed": [name for name in STREAMS if name not in seen],
        "cpu": used,
    }
