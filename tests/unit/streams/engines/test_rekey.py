"""Copies on different partitions, by the engine that is the specification: whatever keys, orders and ends."""

from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.clean import Clean
from schemas.cleaning import Dedupe
from schemas.codec import decode
from schemas.config import Stream
from schemas.dead import Dead
from schemas.raw import structured
from schemas.record import Coordinates, Kind
from streams.engines.memory import INPUTS, MemoryEngine

NOW = datetime(2026, 3, 14, 9, 27, tzinfo=UTC)
PARTITIONS = 3

IDENTITIES = st.tuples(st.sampled_from(["shop", "till", "web"]), st.integers(0, 6).map(str))
SENT = st.lists(
    st.tuples(IDENTITIES, st.none() | st.binary(max_size=2), st.integers(0, PARTITIONS - 1)), max_size=40
)
STEPS = st.lists(
    st.tuples(st.sampled_from(INPUTS), st.integers(0, PARTITIONS - 1), st.integers(1, 5), st.booleans()),
    max_size=30,
)


def engine_with(rekey: str, partitions: int = PARTITIONS) -> MemoryEngine:
    """Make an engine whose one stream is re-keyed so."""
    stream = Stream(kind=Kind.LOG, dedupe=Dedupe.model_validate({"rekey": rekey}))
    return MemoryEngine({"logs": stream}, partitions=partitions)


def event(source: str, event_id: str, **attributes: object) -> bytes:
    """Encode a log event."""
    made = structured(event_id, source, Kind.LOG, {"message": "started"}, time="2026-03-14T09:26:53Z")
    return msgspec.json.encode({**made, **attributes})


def clean(engine: MemoryEngine) -> list[Clean]:
    """Decode what is on `events.clean`."""
    return [decode(record.value or b"", Clean) for record in engine.records(topics.CLEAN)]


@given(SENT, STEPS, st.sampled_from(["auto", "always"]))
def test_each_identity_once_whatever_the_keys_orders_and_kills(sent, steps, rekey):
    """Any keys, partitions, order of work, kills before a commit: once each, at a place it was sent to."""
    engine = engine_with(rekey)
    places: dict[tuple[str, str], set[Coordinates]] = {}
    for (source, event_id), key, partition in sent:
        record = engine.publish(
            event(source, event_id), key=key, timestamp_ms=1_773_480_413_000, partition=partition
        )
        place = Coordinates(record.topic, record.partition, record.offset)
        places.setdefault((source, event_id), set()).add(place)
    for topic, partition, size, commit in steps:
        engine.step(topic, partition, NOW, max_records=size, commit=commit)
        if not commit:
            engine.crash(NOW)
    engine.run(NOW)
    found = clean(engine)
    assert Counter((one.source, one.id) for one in found) == dict.fromkeys(places, 1)
    assert all(one.raw in places[one.source, one.id] for one in found)
    assert engine.records(topics.DEAD) == []


@given(SENT)
def test_batches_account_for_every_record(sent):
    """Accepted, dropped and forwarded add up, and what was forwarded is met again."""
    engine = engine_with("auto")
    for (source, event_id), key, partition in sent:
        engine.publish(event(source, event_id), key=key, timestamp_ms=0, partition=partition)
    batches = engine.run(NOW)
    forwarded = sum(batch.forwarded for batch in batches)
    assert forwarded == len(engine.records(topics.REKEYED))
    assert sum(batch.accepted + batch.duplicates for batch in batches) == len(sent)


def test_keyed_by_source_nothing_takes_the_hop():
    """`auto` costs a lookup where publishers key by source; `never` is as exact there."""
    for rekey in ("auto", "never"):
        engine = engine_with(rekey)
        for number in range(60):
            source = f"web-{number % 7}"
            engine.publish(event(source, str(number // 2)), key=source.encode(), timestamp_ms=0)
        engine.run(NOW)
        assert engine.records(topics.REKEYED) == []
        assert max(Counter((one.source, one.id) for one in clean(engine)).values()) == 1


def test_never_finds_copies_within_a_partition_only():
    """What is not asked for does not happen."""
    engine = engine_with("never")
    for partition in (0, 1, 1):
        engine.publish(event("shop", "1"), timestamp_ms=0, partition=partition)
    engine.run(NOW)
    assert len(clean(engine)) == 2


def test_always_spreads_one_huge_source():
    """One source's events are cleaned in every partition, each identity once."""
    engine = engine_with("always")
    for number in range(300):
        engine.publish(event("shop", str(number % 150)), key=b"shop", timestamp_ms=0)
    engine.run(NOW)
    logs = {record.partition for record in engine.records(topics.DEDUPE_LOG)}
    assert logs == set(range(PARTITIONS))
    assert len(clean(engine)) == 150


def test_order_within_a_source_is_kept_however_it_was_spread():
    """`auto`: events of one source that came on one wrong partition come out in their order."""
    engine = engine_with("auto")
    for number in range(50):
        engine.publish(event("shop", str(number)), key=b"any", timestamp_ms=0, partition=0)
    engine.run(NOW, max_records=7)
    assert [one.id for one in clean(engine)] == [str(number) for number in range(50)]


@pytest.mark.parametrize("partition", range(PARTITIONS))
def test_a_dead_letter_tells_where_it_was_published(partition):
    """Undecodable records are buried where they are met, unusable ones at home: each with its own place."""
    engine = engine_with("auto")
    headers = (("trace", b"7"),)
    bad = event("shop", "1", time="soon")
    for value in (b"{", bad):
        engine.publish(value, key=b"mine", timestamp_ms=0, partition=partition, headers=headers)
    engine.run(NOW)
    letters = [decode(record.value or b"", Dead) for record in engine.records(topics.DEAD)]
    letters.sort(key=lambda letter: letter.raw)
    assert [letter.raw for letter in letters] == [
        Coordinates("events.raw", partition, 0),
        Coordinates("events.raw", partition, 1),
    ]
    assert [letter.original for letter in letters] == [b"{", bad]
    assert {(letter.key, letter.headers) for letter in letters} == {(b"mine", headers)}
    engine.publish(event("shop", "1"), timestamp_ms=0, partition=(partition + 1) % PARTITIONS)
    engine.run(NOW)
    assert len(clean(engine)) == 1  # mended, it passes
