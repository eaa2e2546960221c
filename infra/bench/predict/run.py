"""Real log lines through the serving worker, live: consumes a plan, produces lines a second, answers checked.

Broker, Redis and worker run as `headrace up` runs them. All lines of a pass are published at once, and it is
over when a read-committed consumer of `predictions` has the last answer. The first finds the cache empty;
`new` lines are those of a pass whose texts never come twice, which is what there would be without a cache.
Every answer is then compared with what the released model says to its text alone, asked without any cache.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.bench.answers import Load, Seen, serving
from infra.bench.predict.lines import STREAM, asked, lines_of, taught
from infra.bench.stack import Say, inside
from infra.local.stack import Stack
from infra.local.workspace import claim
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.settings import Settings
from schemas.clean import Clean
from schemas.prediction import Prediction
from schemas.release import Release
from serving.slot import Limits, load
from trainers.bootstrap import train_first

MARKER: Final = ".headrace-bench-predict"
GOAL: Final = 2000.0
"""Lines a second, MiniLM INT8 on two cores, with the cache."""

WITHIN: Final = 1e-5
_CONFIG: Final = f"""[streams.{STREAM}]
kind = "log"
[streams.{STREAM}.model]
[streams.{STREAM}.gate]
p99_ms = 200
"""


@dataclass(frozen=True)
class PredictPlan:
    """What one run is to do: `passes` over the lines, then one of new texts, of at most `new` lines."""

    home: Path
    data: Path
    passes: int = 3
    new: int = 1500
    lines: int = 0


def execute(plan: PredictPlan, say: Say) -> dict[str, Any]:
    """Run the benchmark in a stack of its own and return its figures.

    Raises:
        HeadraceError: the stack did not start, the lines are missing, or answers did not come.
    """
    claim(plan.home, "headrace bench predict", MARKER)
    config = plan.home / "headrace.toml"
    config.write_text(_CONFIG, encoding="utf-8")

    async def measure(settings: Settings, stack: Stack) -> dict[str, Any]:
        return await _measure(plan, settings, stack, say)

    return inside(plan.home, config, (), measure, say)


async def _measure(plan: PredictPlan, settings: Settings, stack: Stack, say: Say) -> dict[str, Any]:
    await create_topics(settings)
    stream = settings.config.streams[STREAM]
    lines = lines_of(plan.data, stream)[: plan.lines or None]
    say(f"training a model on {len(taught(lines))} of {len(lines)} lines")
    release = await asyncio.to_thread(train_first, plan.home, STREAM, stream, taught(lines))
    sent: dict[str, str] = {}
    passes: dict[str, dict[str, Any]] = {}
    async with serving(settings, stack, release) as (publisher, seen):
        for number in range(plan.passes):
            name = "first" if number == 0 else f"again {number}"
            passes[name] = await _passed(asked(lines, number), len(lines), publisher, seen, sent)
            say(f"{name}: {passes[name]['lines_per_s']:,.0f} lines/s")
        few = lines[: plan.new]
        passes["new"] = await _passed(asked(few, plan.passes, new=True), len(few), publisher, seen, sent)
        say(f"new: {passes['new']['lines_per_s']:,.0f} lines/s; checking {len(sent)} answers")
    checked = await asyncio.to_thread(_checked, release, settings, sent, seen.predictions)
    return {
        "lines": len(lines),
        "texts": len({line.text for line in lines}),
        "passes": passes,
        "lines_per_s": passes["first"]["lines_per_s"],
        "goal": GOAL,
        **checked,
    }


async def _passed(
    events: Iterator[Clean], count: int, publisher: Publisher, seen: Seen, sent: dict[str, str]
) -> dict[str, Any]:
    """Publish events at once and wait for all answers."""
    known = list(events)
    sent.update((event.id, event.text) for event in known)
    before = len(seen.received_s)
    began = time.monotonic()
    await Load(publisher, iter(known)).burst(count)
    await seen.until(lambda: len(seen.received_s) >= before + count, "the answers")
    seconds = time.monotonic() - began
    answers = seen.predictions[-count:]
    return {
        "lines": count,
        "seconds": round(seconds, 3),
        "lines_per_s": round(count / seconds, 1),
        "cached": round(sum(answer.cached for answer in answers) / count, 4),
    }


def _checked(
    release: Release, settings: Settings, sent: Mapping[str, str], predictions: Sequence[Prediction]
) -> dict[str, int]:
    """Compare every answer with the model's own to its text alone; count what is missing or other."""
    found = {prediction.id: prediction for prediction in predictions}
    with ThreadPoolExecutor(2) as pool:
        model = load(release, pool, Limits(settings.releases)).predictor
        names = [name for name in sent if name in found]
        alone = model.predict([sent[name] for name in names])
    other = sum(
        answer.label != found[name].label or abs(answer.score - found[name].score) > WITHIN
        for name, answer in zip(names, alone, strict=True)
    )
    return {
        "checked": len(names),
        "lost": len(sent) - len(names),
        "doubled": len(predictions) - len(found),
        "changed": other,
    }
