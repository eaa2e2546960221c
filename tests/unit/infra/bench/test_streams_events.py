"""The benchmark's input is what it says: repeatable, keyed, with known duplicates and times."""

from datetime import UTC, datetime, timedelta

import msgspec

from infra.bench.streams.events import REACH, expected_time, generate
from infra.runtime.kafka.partitioner import partition_of
from schemas.event_time import parse

START = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)


def test_the_same_seed_gives_the_same_events() -> None:
    """Rounds, engines and machines are compared on equal input."""
    assert generate(500, START).events == generate(500, START).events
    assert generate(500, START).events != generate(500, START, seed=8).events


def test_about_one_event_in_twenty_copies_an_earlier_one_exactly() -> None:
    """What is marked as a copy has its original, byte for byte, within reach; all else is unique."""
    stream = generate(20_000, START)
    last_seen: dict[bytes, int] = {}
    for index, event in enumerate(stream.events):
        seen = last_seen.get(event.value)
        assert event.original == (seen is None)
        assert seen is None or index - seen <= REACH
        last_seen[event.value] = index
    copies = 20_000 - stream.distinct(20_000)
    assert 0.045 < copies / 20_000 < 0.055
    assert stream.distinct(20_000) == len(last_seen)


def test_the_time_of_an_event_follows_from_its_id() -> None:
    """Written in UTC or with an offset, it is the moment by which an output is checked."""
    written = set()
    for event in generate(300, START).events:
        decoded = msgspec.json.decode(event.value)
        written.add(decoded["time"][-6:])
        assert parse(decoded["time"]) == expected_time(decoded["id"], START)
        assert expected_time(decoded["id"], START) < START + timedelta(seconds=1)
    assert "+01:00" in written and any(text.endswith("Z") for text in written)


def test_a_part_keeps_the_order_within_the_partition_of_the_key() -> None:
    """Copies follow their originals in the same partition, as a publisher's key makes it."""
    stream = generate(2_000, START)
    parts = stream.part(500, 2_000, 4)
    assert sum(len(part) for part in parts) == 1_500
    for number, part in enumerate(parts):
        assert all(partition_of(event.key, 4) == number for event in part)
        assert part == [event for event in stream.events[500:] if partition_of(event.key, 4) == number]
