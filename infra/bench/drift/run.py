"""`headrace bench drift`: consumes a plan, produces what watching costs, false alarms, and live latencies."""

from collections.abc import Callable
from functools import partial
from typing import Any

from infra.bench.drift.live import execute
from infra.bench.drift.plan import DriftPlan
from infra.bench.drift.steady import Steady, watch

Progress = Callable[[str, int], None]


def run(plan: DriftPlan, progress: Progress, say: Callable[[str], None]) -> dict[str, Any]:
    """Run the parts of a plan one after the other and return their figures.

    Raises:
        HeadraceError: the live part's stack did not start.
    """
    steady: list[Steady] = []
    for kind in plan.kinds:
        for seed in range(1, plan.seeds + 1):
            name = f"{kind.value}, seed {seed}"
            steady.append(watch(kind, plan.events, plan.rate, seed, partial(progress, name)))
    return {
        "events": plan.events,
        "rate": plan.rate,
        "steady": [one.as_json() for one in steady],
        "live": execute(plan.live, say) if plan.live else None,
    }
