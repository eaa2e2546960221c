"""The benchmark's input: consumes a seed, produces the CloudEvents that every engine is given.

One stream kind, `sensor`: a reading of three values from one of 200 sources. One event in twenty is an exact
copy of one up to 5,000 places before it, as a publisher's retry makes them. Half of the sources write their
times in UTC, half with an offset of one hour, so that normalising the time is work and can be checked.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from infra.runtime.kafka.partitioner import partition_of

SOURCES: Final = 200
DUPLICATES: Final = 0.05
REACH: Final = 5_000
"""How far back the original of a duplicate lies at most, in events."""

_ELSEWHERE: Final = timezone(timedelta(hours=1))


@dataclass(frozen=True)
class Event:
    """An event as published: `value` is the JSON, `key` its source."""

    key: bytes
    value: bytes
    original: bool


@dataclass(frozen=True)
class EventStream:
    """Events in the order of publishing. Every engine gets a beginning of it, as long as its speed allows."""

    events: Sequence[Event]
    started: datetime

    def part(self, begin: int, end: int, partitions: int) -> list[list[Event]]:
        """Return the events from `begin` to `end`, by the input partition that their key belongs to."""
        spread: list[list[Event]] = [[] for _ in range(partitions)]
        for event in self.events[begin:end]:
            spread[partition_of(event.key, partitions)].append(event)
        return spread

    def distinct(self, end: int) -> int:
        """Return how many different events the first `end` hold."""
        return sum(event.original for event in self.events[:end])

    @property
    def mean_bytes(self) -> float:
        """Return the mean size of an event's JSON."""
        return sum(len(event.value) for event in self.events) / max(1, len(self.events))


def generate(count: int, started: datetime, seed: int = 7) -> EventStream:
    """Make `count` events one millisecond apart in event time, the first at `started` (whole seconds)."""
    rng = random.Random(seed)
    events: list[Event] = []
    for index in range(count):
        if index and rng.random() < DUPLICATES:
            copied = events[index - 1 - rng.randrange(min(index, REACH))]
            events.append(Event(copied.key, copied.value, original=False))
        else:
            events.append(_reading(rng, started, index))
    return EventStream(events, started)


def event_id(index: int, random_bits: int) -> str:
    """Return an id whose first eight hexadecimal digits are the event's index: its time can be checked."""
    return f"{index:08x}{random_bits:024x}"


def expected_time(id: str, started: datetime) -> datetime:
    """Return the event time of the event with this id."""
    return started + timedelta(milliseconds=int(id[:8], 16))


def _reading(rng: random.Random, started: datetime, index: int) -> Event:
    host = rng.randrange(SOURCES)
    source = f"plant-7/press-{host:03d}"
    moment = started + timedelta(milliseconds=index)
    if host % 2:
        time = moment.astimezone(_ELSEWHERE).isoformat(timespec="milliseconds")
    else:
        time = moment.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
    value = (
        f'{{"specversion":"1.0","id":"{event_id(index, rng.getrandbits(96))}","source":"{source}",'
        f'"type":"headrace.sensor.reading.v2","time":"{time}","datacontenttype":"application/json",'
        f'"data":{{"values":{{"pressure":{rng.gauss(6.2, 0.3):.3f},"temperature":{rng.gauss(64, 2):.2f},'
        f'"vibration":{rng.random():.4f}}}}}}}'
    )
    return Event(source.encode(), value.encode(), original=True)
