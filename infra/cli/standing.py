"""What `headrace streams list` shows: orders, groups and the workers' own counts in, one table out."""

import asyncio
from typing import Any

from infra.cli import groups
from infra.cli.rates import OVER_S, Rates, held, rates
from infra.runtime.control import Controls
from infra.runtime.kafka.admin import create_topics
from infra.runtime.settings import Settings
from schemas.control import Action, Control, Scope


async def standing(settings: Settings) -> dict[str, Any]:
    """Gather orders, groups, and what the workers of this data folder count; takes about a second."""
    await create_topics(settings)
    controls = Controls(settings)
    await controls.load()
    before, parked = await groups.groups(settings), await groups.parked(settings)
    counted, waiting, _ = await asyncio.gather(rates(settings), held(settings), asyncio.sleep(OVER_S))
    after = await groups.groups(settings)
    return {
        "streams": [
            {
                "name": name,
                "kind": stream.kind.value,
                **_standing(controls.newest(Scope.STREAM, name)),
                **_rates(counted.get(name)),
            }
            for name, stream in settings.config.streams.items()
        ],
        "stages": [
            {
                "name": now.stage.value,
                "group": now.name,
                **_standing(controls.newest(Scope.STAGE, now.stage.value)),
                "workers": len(now.members),
                "lag": now.lag,
                "records_per_s": _per_s(then, now, OVER_S),
            }
            for then, now in zip(before, after, strict=True)
        ],
        "parked": parked,
        "held": waiting,
    }


def _standing(order: Control | None) -> dict[str, Any]:
    paused = order is not None and order.action is Action.PAUSED
    told = {"since": order.at, "by": order.by, "reason": order.reason} if order else {}
    return {"state": "paused" if paused else "running", **told}


def _rates(found: Rates | None) -> dict[str, Any]:
    if found is None:
        return {}
    return {
        "accepted_per_s": round(found.accepted_per_s, 1),
        "duplicate_ratio": round(found.duplicate_ratio, 4),
        "reject_ratio": round(found.reject_ratio, 4),
        "watermark_delay_s": None if found.delay_s is None else round(found.delay_s, 1),
    }


def _per_s(then: groups.Group, now: groups.Group, over_s: float) -> float:
    """Return how fast a group's positions moved, transaction marks included."""
    moved = sum(now.committed[at] - then.committed.get(at, 0) for at in now.committed)
    return round(moved / over_s, 1)


def show(found: dict[str, Any]) -> None:
    """Print it as two tables."""
    from rich.console import Console
    from rich.table import Table

    streams = Table("stream", "kind", "state", "accepted/s", "duplicates", "rejected", "delay", box=None)
    for row in found["streams"]:
        delay = row.get("watermark_delay_s")
        streams.add_row(
            row["name"],
            row["kind"],
            row["state"],
            _shown(row.get("accepted_per_s"), ""),
            _shown(row.get("duplicate_ratio"), "%"),
            _shown(row.get("reject_ratio"), "%"),
            "–" if delay is None else f"{delay:g} s",
        )
    stages = Table("stage", "state", "workers", "lag", "records/s", box=None)
    for row in found["stages"]:
        stages.add_row(
            row["name"],
            row["state"],
            str(row["workers"]),
            str(row["lag"]),
            f"{row['records_per_s']:g}",
        )
    console = Console()
    console.print(streams)
    console.print()
    console.print(stages)
    for scope in ("stream", "stage"):
        for row in found[f"{scope}s"]:
            if row["state"] == "paused":
                console.print(f"\n{scope} {row['name']}: paused {_why(row)}", soft_wrap=True)
    if found["parked"]:
        console.print(f"\n{found['parked']} records of events.parked wait (transaction marks included)")
    if found["held"]:
        console.print(f"\n{found['held']} events wait in the Flink job")


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return "–"
    return f"{value:.1%}" if unit == "%" else f"{value:g}"


def _why(row: dict[str, Any]) -> str:
    return f"since {row['since']:%m-%d %H:%M:%S} by {row['by']}" + (
        f": {row['reason']}" if row["reason"] else ""
    )
