"""From a drift to the model that serves, live: consumes seeds and a rate, produces seconds and what it cost.

A round is the demo's own run (`infra.demo`): broker, ClickHouse, gateway and all workers on this machine, API
requests at a steady rate judged by MiniLM, whose traffic changes; the system notices, learns and swaps by
itself while the requests go on. *Beside training*: how long events waited for their answer that were sent
while the trainer was at work, against the same traffic sent while it was not; it runs at low priority.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from infra.demo.plan import Plan
from infra.demo.run import played
from infra.demo.story import Story


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What one run came to. Seconds are null where the loop did not come so far; `falls_short` says why."""

    seed: int
    seconds: dict[str, float | None]
    accuracy: dict[str, float | None]
    labelled: dict[str, int]
    prediction_ms: dict[str, dict[str, float] | None]
    lost: int
    doubled: int
    falls_short: list[str]


def run(home: Path, rounds: int, rate: float, seed: int, tell: Callable[[Round], None]) -> dict[str, Any]:
    """Play the rounds, each in a folder of its own, and return the figures."""
    done = []
    for number in range(rounds):
        plan = Plan(home=home / f"round-{number + 1}", seed=seed + number, rate=rate)
        done.append(told(plan.seed, asyncio.run(played(plan))))
        tell(done[-1])
    return figures(done, rate)


def told(seed: int, story: Story) -> Round:
    """Return the figures of a run that ended."""
    moments, shares = story.figures.moments, story.figures.accuracies()
    swapped = moments.swap - moments.drift if moments.swap and moments.drift else None
    waits = story.figures.beside_training()
    return Round(
        seed=seed,
        seconds={"drift_to_serving": None if swapped is None else round(swapped, 2), **moments.seconds()},
        accuracy={name: share.value for name, share in shares.items()},
        labelled={name: share.total for name, share in shares.items()},
        prediction_ms={name: found.as_json() if found else None for name, found in waits.items()},
        lost=story.figures.lost,
        doubled=story.figures.doubled,
        falls_short=story.shortcomings,
    )


def figures(rounds: list[Round], rate: float) -> dict[str, Any]:
    """Return the medians, and each round.

    `accuracy_lost` is accuracy before the drift less that of the new model, in points; `p99_moved_ms` how
    much longer the slowest hundredth of answers took beside a training than of the same traffic without one.
    """
    seconds = {name: _median(one.seconds[name] for one in rounds) for name in rounds[0].seconds}
    waits = [(one.prediction_ms.get("training"), one.prediction_ms.get("drifted")) for one in rounds]
    return {
        "rate": rate,
        "seconds": seconds,
        "accuracy_lost": _median(_lost(one) for one in rounds),
        "p99_moved_ms": _median(
            beside["p99"] - before["p99"] if beside and before else None for beside, before in waits
        ),
        "lost": sum(one.lost for one in rounds),
        "doubled": sum(one.doubled for one in rounds),
        "rounds": rounds,
    }


def _lost(one: Round) -> float | None:
    before, after = one.accuracy["before"], one.accuracy["after"]
    return None if before is None or after is None else 100 * (before - after)


def _median(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return round(median(known), 3) if known else None
