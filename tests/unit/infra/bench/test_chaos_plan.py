"""The schedule and the traffic of a chaos run: seeded, within bounds, and what they say they are."""

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from infra.bench.chaos.plan import MOST_MEMBERS, WORKERS, Plan, schedule
from infra.bench.chaos.traffic import STREAM, Nature, Traffic
from infra.runtime.kafka.partitioner import partition_of
from schemas import codec, topics
from schemas.config import Stream
from schemas.dead import Dead
from schemas.record import Kind
from streams.engines.memory import MemoryEngine

BEGAN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
HOME = Path("unused")


@given(
    events=st.integers(100, 1_000_000),
    kills=st.integers(0, 40),
    rebalances=st.integers(0, 40),
    seed=st.integers(0, 2**32),
)
def test_a_schedule_is_what_was_asked_and_possible(
    events: int, kills: int, rebalances: int, seed: int
) -> None:
    """Every fault is aimed at a member that is there at its moment; groups stay between one and three."""
    plan = Plan(HOME, events=events, kills=kills, rebalances=rebalances, seed=seed)
    faults = schedule(plan)
    assert faults == schedule(plan)
    assert Counter(fault.what == "kill" for fault in faults) == Counter(
        {kind: count for kind, count in ((True, kills), (False, rebalances)) if count}
    )
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    assert all(0 < fault.at <= events * 0.95 for fault in faults)
    members = dict.fromkeys(WORKERS, 1)
    for fault in faults:
        if fault.what == "join":
            members[fault.worker] += 1
        assert 1 <= fault.member <= members[fault.worker] <= MOST_MEMBERS
        if fault.what == "leave":
            assert fault.member == members[fault.worker] > 1
            members[fault.worker] -= 1


def test_the_full_run_scales_groups_up_and_down() -> None:
    """Ten rebalances take a group from one to three members and back, and go on with the next."""
    moves = [fault for fault in schedule(Plan(HOME)) if fault.what != "kill"]
    first = [fault.what for fault in moves if fault.worker == moves[0].worker]
    assert first[:4] == ["join", "join", "leave", "leave"]
    assert len({fault.worker for fault in moves}) > 1


def test_traffic_is_each_event_once_with_copies_and_bad_ones() -> None:
    """Copies repeat their event's bytes after it, strays on another partition; a seed repeats everything."""
    plan = Plan(HOME, events=4000)
    messages = list(Traffic(plan, BEGAN).messages())
    assert messages == list(Traffic(plan, BEGAN).messages())
    assert messages != list(Traffic(Plan(HOME, events=4000, seed=8), BEGAN).messages())
    events = [message for message in messages if message.nature is Nature.EVENT]
    assert [message.number for message in events] == list(range(4000))
    natures = Counter(message.nature for message in messages)
    assert 120 <= natures[Nature.COPY] + natures[Nature.STRAY] <= 280
    assert natures[Nature.STRAY] > 10 and natures[Nature.BAD] > 5
    first = {message.number: place for place, message in enumerate(messages) if message in events}
    for place, message in enumerate(messages):
        if message.nature in (Nature.COPY, Nature.STRAY):
            original = events[message.number].record
            assert first[message.number] < place
            assert (message.record.key, message.record.value) == (original.key, original.value)
            strayed = message.record.partition not in (
                None,
                partition_of(original.key, topics.RAW.partitions),
            )
            assert strayed == (message.nature is Nature.STRAY)


def test_the_cleaning_takes_the_events_and_rejects_the_bad_ones_alone() -> None:
    """In the engine that is the specification every event passes, and every bad record is dead, numbered."""
    plan = Plan(HOME, events=2000, strays=0.0)
    engine = MemoryEngine({STREAM: Stream(kind=Kind.SENSOR)})
    messages = list(Traffic(plan, BEGAN).messages())
    for message in messages:
        record = message.record
        engine.publish(record.value, key=record.key, timestamp_ms=int(BEGAN.timestamp() * 1000))
    engine.run(BEGAN)
    clean = Counter(msgspec.json.decode(record.value or b"")["id"] for record in engine.records(topics.CLEAN))
    assert clean == Counter(dict.fromkeys(map(str, range(2000)), 1))
    dead = [codec.decode(record.value or b"", Dead) for record in engine.records(topics.DEAD)]
    numbers = [int(found[1]) for letter in dead if (found := re.search(rb'"bad-(\d+)\.', letter.original))]
    assert sorted(numbers) == [message.number for message in messages if message.nature is Nature.BAD]
