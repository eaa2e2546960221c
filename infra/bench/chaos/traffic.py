"""The events of a chaos run: consumes a seed, produces numbered sensor readings, copies of them and bad ones.

An event's id is its number, so what was lost or doubled is counted in one byte per event (`copies`).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from random import Random
from typing import Final

import msgspec

from infra.bench.chaos.plan import Plan
from infra.runtime.kafka.partitioner import partition_of
from schemas import topics
from schemas.raw import SensorReading, structured
from schemas.record import Kind, Outgoing

STREAM: Final = "presses"
SOURCES: Final = 48
BAD_ID: Final = "bad-"
_RECENT: Final = 2_000
"""Half of the copies are retries of what was sent last; the others come from anywhere before."""


class Nature(Enum):
    """What a message is."""

    EVENT = "event"
    COPY = "copy"
    STRAY = "stray"  # a copy on another partition than the event's own
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Message:
    """One record for `events.raw`; `number` counts events, and bad ones apart."""

    nature: Nature
    number: int
    record: Outgoing


class Traffic:
    """The messages of one plan, always the same ones but for their times."""

    def __init__(self, plan: Plan, began: datetime | None = None) -> None:
        self._plan = plan
        self._began = began or datetime.now(UTC)

    def messages(self) -> Iterator[Message]:
        """Yield every message in the order in which it is to be sent."""
        plan, random, bad = self._plan, Random(self._plan.seed + 1), 0
        for number in range(plan.events):
            yield Message(Nature.EVENT, number, self.event(number))
            luck = random.random()
            if luck < plan.copies:
                earliest = max(0, number - _RECENT) if random.random() < 0.5 else 0
                again = random.randint(earliest, number)
                if random.random() < plan.strays:
                    yield Message(Nature.STRAY, again, self._stray(self.event(again), random))
                else:
                    yield Message(Nature.COPY, again, self.event(again))
            elif luck < plan.copies + plan.bad:
                yield Message(Nature.BAD, bad, self._bad(bad, random))
                bad += 1

    def event(self, number: int) -> Outgoing:
        """Return one event as it is published; the same number always gives the same bytes."""
        source = f"press/{number % SOURCES}"
        moment = self._began + timedelta(milliseconds=number // SOURCES)
        envelope = structured(
            str(number), source, Kind.SENSOR, reading(number), time=moment.isoformat(), stream=STREAM
        )
        return Outgoing(topics.RAW.name, source.encode(), msgspec.json.encode(envelope))

    def _stray(self, record: Outgoing, random: Random) -> Outgoing:
        own = partition_of(record.key, topics.RAW.partitions)
        others = [partition for partition in range(topics.RAW.partitions) if partition != own]
        return record._replace(partition=random.choice(others) if others else own)

    def _bad(self, number: int, random: Random) -> Outgoing:
        """Return a record that must be rejected; its bytes still carry its number."""
        source = f"press/{number % SOURCES}"
        good = structured(f"{BAD_ID}{number}.", source, Kind.SENSOR, reading(number), stream=STREAM)
        wrong = random.choice(
            [
                msgspec.json.encode(good)[:-9],
                msgspec.json.encode({**good, "type": "headrace.sensor.reading.v99"}),
                msgspec.json.encode({**good, "time": "half past nine"}),
                msgspec.json.encode({**good, "data": {"values": ["no", "object"]}}),
                msgspec.json.encode({**good, "stream": "no-such-stream"}),
                msgspec.json.encode(good) + b"\xff",
            ]
        )
        return Outgoing(topics.RAW.name, source.encode(), wrong)


def reading(number: int) -> SensorReading:
    """Return the readings of a press: two waves and a spread that repeats after a prime number of events."""
    phase = number / 500
    spread = (number * 7919 % 1009) / 1009 - 0.5
    return SensorReading(
        values={
            "temperature": round(60 + 8 * math.sin(phase) + 2 * spread, 3),
            "pressure": round(4 + 0.6 * math.cos(phase) + 0.2 * spread, 4),
            "vibration": round(0.2 + 0.05 * abs(spread), 5),
        }
    )
