"""The whole comparison: consumes its plan, produces the figures of every engine over interleaved rounds.

A round runs every engine once; the next round takes them in another order, so that a drift of the machine
(heat, caches, neighbours) falls on all. An engine that fails is reported with its log's end; others go on.
"""

import asyncio
import os
import shutil
import statistics
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from infra.bench.streams.engines import AT_LEAST_ONCE, ENGINES, FLINK, FLINK_SQL, HEADRACE, Engine, Place
from infra.bench.streams.environments import Say
from infra.bench.streams.events import DUPLICATES, SOURCES, EventStream, generate
from infra.bench.streams.measure import During, Measured, measure, names_of
from infra.local.stack import Stack, StackSettings
from schemas.errors import HeadraceError

MIN_EVENTS: Final = 2_000
_MARGIN_S: Final = 60


@dataclass(frozen=True)
class Plan:
    """What is run: `events` is what Headrace gets a round, the others their share of it."""

    home: Path
    engines: Sequence[str] = tuple(ENGINES)
    events: int = 1_000_000
    partitions: int = 4
    rounds: int = 3

    def events_of(self, engine: Engine) -> int:
        """Return how many timed events an engine gets in each round."""
        return max(MIN_EVENTS, int(self.events * engine.share))

    def order(self, number: int) -> list[Engine]:
        """Return the engines in the order of a round."""
        turn = number % len(self.engines)
        return [ENGINES[name] for name in (*self.engines[turn:], *self.engines[:turn])]


@dataclass
class _Tally:
    """What was measured of one engine so far."""

    rounds: list[Measured] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def compare(plan: Plan, say: Say, during: During | None = None) -> dict[str, Any]:
    """Run the plan on a broker of its own and return the figures.

    Raises:
        StackError: the broker could not be started.
    """
    chosen = [ENGINES[name] for name in plan.engines]
    total = max(int(plan.events_of(engine) * (1 + engine.warm_up)) for engine in chosen)
    now = datetime.now(UTC).replace(microsecond=0)
    say(f"making {total:,} events")
    stream = generate(total, now - timedelta(seconds=total // 1000 + _MARGIN_S))
    tallies = {name: _Tally() for name in plan.engines}
    with broker(plan.home / "stack", say) as stack:
        kafka = stack.endpoints.kafka
        for number in range(plan.rounds):
            for engine in plan.order(number):
                say(f"round {number + 1} of {plan.rounds}: {engine.title}")
                tally = tallies[engine.name]
                try:
                    measured = asyncio.run(_one(plan, engine, number, kafka, stream, say, during))
                except (HeadraceError, OSError) as error:
                    tally.failures.append(str(error))
                    say(f"  failed: {error}")
                else:
                    tally.rounds.append(measured)
                    say(f"  {measured.events_per_s:,.0f} events/s{_faults(measured)}")
    return {**_described(plan, stream), **summary(_engines(tallies))}


def _engines(tallies: dict[str, _Tally]) -> dict[str, dict[str, Any]]:
    """Return each engine's figures; `failed` holds what its failed rounds said."""
    return {
        name: {
            **_figures(tally.rounds),
            "warm_up": ENGINES[name].warm_up,
            "guarantee": ENGINES[name].guarantee,
            "title": ENGINES[name].title,
            **({"failed": tally.failures} if tally.failures else {}),
        }
        for name, tally in tallies.items()
    }


def summary(engines: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the engines with Headrace's ratios to the others, on Flink that to Flink SQL, and a cost.

    The cost is that of exactly once, a fraction of the rate.
    """
    medians = {name: figures["median"] for name, figures in engines.items() if figures.get("median")}
    ours = medians.get(HEADRACE)
    ratios = {
        name: round(ours / median, 2)
        for name, median in medians.items()
        if ours and name not in (HEADRACE, AT_LEAST_ONCE, FLINK)
    }
    lesser = medians.get(AT_LEAST_ONCE)
    cost = round(1 - ours / lesser, 4) if ours and lesser else None
    on_flink, sql = medians.get(FLINK), medians.get(FLINK_SQL)
    beside = round(on_flink / sql, 2) if on_flink and sql else None
    return {"engines": engines, "ratios": ratios, "flink_ratio": beside, "exactly_once_cost": cost}


def _figures(rounds: Sequence[Measured]) -> dict[str, Any]:
    rates = [measured.events_per_s for measured in rounds]
    if not rates:
        return {"events_per_s": [], "median": None}
    return {
        "events": rounds[0].events,
        "events_per_s": [round(rate) for rate in rates],
        "median": round(statistics.median(rates)),
        "spread": round((max(rates) - min(rates)) / statistics.median(rates), 3),
        "lost": sum(measured.lost for measured in rounds),
        "doubled": sum(measured.doubled for measured in rounds),
        "wrong": sum(measured.wrong for measured in rounds),
        "cpu_s": [round(measured.cpu_s, 2) for measured in rounds],
        "cpu_us_per_event": round(statistics.median(1e6 * each.cpu_s / each.events for each in rounds), 2),
        "commit_wait_s": round(statistics.median(measured.commit_wait_s for measured in rounds), 2),
    }


async def _one(
    plan: Plan,
    engine: Engine,
    number: int,
    kafka: str,
    stream: EventStream,
    say: Say,
    during: During | None,
) -> Measured:
    run = f"bench-{uuid.uuid4().hex[:8]}"
    folder = plan.home / "run" / f"{number + 1}-{engine.name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = names_of(run, engine, number, plan.partitions)
    place = Place(kafka, names, folder, plan.home / "environments", say)
    return await measure(engine, place, stream, plan.events_of(engine), during)


def broker(home: Path, say: Say) -> Stack:
    """Return a stack of Kafka alone, with empty data; no engine needs the other services."""
    shutil.rmtree(home, ignore_errors=True)
    nowhere = StackSettings(
        redis="redis://127.0.0.1:1/0", clickhouse="http://default:@127.0.0.1:1", usual_ports=False
    )
    return Stack(home, settings=nowhere, progress=say)


def _faults(measured: Measured) -> str:
    counted = (("lost", measured.lost), ("doubled", measured.doubled), ("wrong", measured.wrong))
    told = [f"{number} {name}" for name, number in counted if number]
    return f" ({', '.join(told)})" if told else ""


def _described(plan: Plan, stream: EventStream) -> dict[str, Any]:
    """Return the circumstances, without which figures say nothing."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": _cpu_model(), "cores": os.cpu_count()},
        "job": {
            "kind": "sensor",
            "partitions": plan.partitions,
            "rounds": plan.rounds,
            "sources": SOURCES,
            "duplicates": DUPLICATES,
            "event_bytes": round(stream.mean_bytes),
        },
    }


def _cpu_model() -> str:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else "unknown"
