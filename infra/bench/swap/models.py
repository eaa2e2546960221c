"""Two models to swap between, and what they are asked: consumes a seed, produces releases and clean events.

Both answer the same classes under names of their own (`sqli-v1`, `sqli-v2`), so that an answer that one
version made under the other's name could not pass for right.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from random import Random

import msgspec

from infra.bench.swap.plan import STREAM, Family, SwapPlan
from infra.demo.first_model import cleaned
from infra.demo.traffic import Traffic
from schemas.clean import Clean
from schemas.config import Stream
from schemas.record import Coordinates, Kind
from schemas.release import Release
from trainers.bootstrap import train_first

_ROWS = 800
_SOURCES = 16
_READINGS = ("cpu", "memory", "disk", "temperature")


def two(plan: SwapPlan, stream: Stream) -> tuple[Release, Release]:
    """Train two first models on the same rows and return their releases."""
    rows = _labelled(plan, stream)
    first, second = (
        train_first(plan.home, STREAM, stream, [(event, f"{label}-v{version}") for event, label in rows])
        for version in (1, 2)
    )
    return first, second


def questions(plan: SwapPlan, stream: Stream, now: datetime) -> Iterator[Clean]:
    """Yield events without end, no two of one text: each is answered by the model, none by the cache."""
    known = [event for event, _ in _labelled(plan, stream)]
    for number in count():
        like = known[number % len(known)]
        yield msgspec.structs.replace(
            like,
            source=f"asker-{number % _SOURCES}",
            id=str(number),
            time=now,
            raw=Coordinates("events.raw", 0, number),
            text=f"{like.text} trace {number:x}" if like.text else "",
        )


def label_of(label: str, version: int) -> bool:
    """Tell whether a label is one of a version's own."""
    return label.endswith(f"-v{version}")


def _labelled(plan: SwapPlan, stream: Stream) -> list[tuple[Clean, str]]:
    if plan.family is Family.SENSOR:
        return _readings(plan.seed)
    events = Traffic(plan.seed, 60.0, "before", stream=STREAM).history(_ROWS)
    labels = {event.identity: event.label for event in events}
    rows = cleaned({STREAM: stream}, events, datetime.now(UTC))
    return [(row, labels[row.source, row.id]) for row in rows]  # type: ignore[index]  # an Identity is that tuple


def _readings(seed: int) -> list[tuple[Clean, str]]:
    chance, now = Random(seed), datetime.now(UTC)
    rows = []
    for number in range(_ROWS):
        busy = chance.random() < 0.5
        values = {name: chance.gauss(3.0 * busy, 1.0) for name in _READINGS}
        event = Clean(
            stream=STREAM, kind=Kind.SENSOR, source="machine", id=f"r{number}", time=now,
            raw=Coordinates("events.raw", 0, number), values=values,
        )  # fmt: skip
        rows.append((event, "busy" if busy else "idle"))
    return rows
