"""The whole comparison: consumes its plan, produces the figures of every system over interleaved rounds.

A round starts every system once, asks it at every concurrency and ends it; the next round takes them in
another order. A system that cannot be installed or fails is said and left out; the others go on.
"""

import os
import shutil
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any, Final

from infra.bench.serve import figures as told
from infra.bench.serve.measure import Checker, Sample, served, session
from infra.bench.serve.models import folder_of, release, rows
from infra.bench.serve.plan import Scenario, ServePlan, cores
from infra.bench.serve.systems import SESSION, SYSTEMS, Place, prepare
from infra.bench.stack import Say
from schemas.errors import HeadraceError

_SESSION_TITLE: Final = "the session alone, no server"


def compare(plan: ServePlan, say: Say) -> dict[str, Any]:
    """Run the plan and return the figures; `failed` says what became of systems that are missing in them.

    Raises:
        HeadraceError: the model could not be trained.
    """
    made = release(plan, say)
    asked = rows(plan, made)
    check = Checker(None if plan.scenario is Scenario.NULL else folder_of(made), asked)
    failed: dict[str, list[str]] = defaultdict(list)
    for name in plan.systems:
        try:
            prepare(name, plan.home / "environments", say)
        except HeadraceError as error:
            failed[name].append(str(error))
            say(f"{name} is left out: {error}")
    measured: dict[str, list[list[Sample]]] = defaultdict(list)
    unable = frozenset(failed)
    next_row: dict[str, int] = defaultdict(int)
    load_before = os.getloadavg()
    for number in range(plan.rounds):
        for name in plan.order(number):
            if name in unable or (name == SESSION and not plan.scenario.has_session):
                continue
            say(f"round {number + 1} of {plan.rounds}: {name}")
            folder = plan.home / "run" / f"{number + 1}-{name}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            place = Place(plan, folder, made, asked[0], say)
            try:
                if name == SESSION:
                    samples = session(place, asked)
                else:
                    samples, next_row[name] = served(SYSTEMS[name], place, asked, next_row[name], check)
            except (HeadraceError, OSError) as error:
                failed[name].append(str(error))
                say(f"  failed: {error}")
            else:
                measured[name].append(samples)
                say("  " + ", ".join(f"{sample.per_s:,.0f}/s" for sample in samples))
    return {
        **_described(plan, len(set(map(str, asked))) / len(asked), load_before),
        **_systems(plan, measured, failed),
    }


def _systems(
    plan: ServePlan, measured: dict[str, list[list[Sample]]], failed: dict[str, list[str]]
) -> dict[str, Any]:
    systems = {
        name: {
            "title": _SESSION_TITLE if name == SESSION else SYSTEMS[name].title,
            **told.system(measured[name], plan.concurrency, plan.headline),
        }
        for name in plan.systems
        if measured.get(name)
    }
    return {"systems": systems, **told.ratios(systems, plan.headline), "failed": dict(failed)}


def _described(plan: ServePlan, distinct: float, load_before: tuple[float, float, float]) -> dict[str, Any]:
    """Return the circumstances, without which figures say nothing."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "scenario": plan.scenario.value,
        "machine": {"cores": cores(), "load_average": {"before": load_before, "after": os.getloadavg()}},
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "concurrency": list(plan.concurrency),
        "headline_concurrency": plan.headline,
        "distinct_rows": round(distinct, 4),
    }
