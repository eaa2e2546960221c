"""The whole cleaning stage of a partition: outputs, rejections, duplicates, state."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.clean import Clean
from schemas.codec import decode
from schemas.config import Stream
from schemas.dead import Dead
from schemas.errors import Reason
from schemas.raw import structured
from schemas.record import Coordinates, Kind
from streams.engines.memory import MemoryRecord
from streams.operators.batch import Batch
from streams.operators.dead_letter import MAX_ORIGINAL_BYTES
from streams.operators.pipeline import CleanPipeline

NOW = datetime(2026, 3, 14, 9, 27, tzinfo=UTC)
STREAMS = {
    "requests": Stream(kind=Kind.API),
    "host": Stream(kind=Kind.SENSOR),
    "logs": Stream(kind=Kind.LOG),
}


def raw(value: bytes | None, offset: int = 0, headers: tuple[tuple[str, bytes], ...] = ()) -> MemoryRecord:
    """Make an incoming record."""
    return MemoryRecord("events.raw", 1, offset, 1_773_480_413_000, b"key", value, headers)


def line(event_id: str, message: Any = "started", **attributes: Any) -> bytes:
    """Encode a log event."""
    event = structured(event_id, "web-1", Kind.LOG, {"message": message}, time="2026-03-14T09:26:53Z")
    return msgspec.json.encode({**event, **attributes})


def cleaned(batch: Batch) -> list[Clean]:
    """Decode a batch's clean events."""
    return [decode(out.value, Clean) for out in batch.outgoing if out.topic == topics.CLEAN.name]


def dead(batch: Batch) -> list[Dead]:
    """Decode a batch's rejections."""
    return [decode(out.value, Dead) for out in batch.outgoing if out.topic == topics.DEAD.name]


def changelog(batch: Batch) -> list[bytes]:
    """Return a batch's changelog records."""
    return [out.value for out in batch.outgoing if out.topic == topics.DEDUPE_LOG.name]


def test_a_request_is_normalised_and_its_personal_data_masked():
    """Text for the model, columns for the analyst, no client address."""
    data = {
        "method": "GET",
        "path": "/products/4711",
        "query": "q=1%27%20OR%20%271%27=%271",
        "status": 200,
        "duration_ms": 12.5,
        "client_ip": "203.0.113.9",
        "user_agent": "curl/8",
    }
    event = structured("7", "shop", Kind.API, data, time="2026-03-14T09:26:53Z")
    batch = CleanPipeline(STREAMS).process([raw(msgspec.json.encode(event), offset=9)], NOW)
    (clean,) = cleaned(batch)
    assert clean.text == "GET /products/<num>?q=<num>' OR '<num>'='<num>"
    assert clean.attributes == {
        "method": "GET",
        "path": "/products/4711",
        "status": "200",
        "client_ip": "<ip>",
        "user_agent": "curl/8",
    }
    assert clean.values == {"duration_ms": 12.5}
    assert clean.flags.masked == ("client_ip",)
    assert clean.raw == Coordinates("events.raw", 1, 9)
    assert clean.stream == "requests"
    assert batch.outgoing[0].key == b"shop"


def test_sensor_readings_are_repaired_and_imputed():
    """A numeric string is repaired, a null takes the source's last reading."""
    pipeline = CleanPipeline(STREAMS)
    events = [
        structured(str(at), "host-1", Kind.SENSOR, {"values": values})
        for at, values in enumerate([{"cpu": 10.0, "mem": "20"}, {"cpu": None, "mem": 21}])
    ]
    first, second = cleaned(pipeline.process([raw(msgspec.json.encode(e)) for e in events], NOW))
    assert first.values == {"cpu": 10.0, "mem": 20.0}
    assert first.flags.repaired == ("mem",)
    assert first.flags.time_missing
    assert second.values == {"cpu": 10.0, "mem": 21.0}
    assert second.flags.imputed == ("cpu",)


def test_duplicates_are_dropped_and_counted():
    """Within a batch, across batches, and after a rebuild from the changelog."""
    pipeline = CleanPipeline(STREAMS)
    first = pipeline.process([raw(line("1")), raw(line("1", "again")), raw(line("2"))], NOW)
    assert (first.accepted, first.duplicates) == (2, 1)
    assert pipeline.process([raw(line("2"))], NOW + timedelta(days=1)).duplicates == 1
    rebuilt = CleanPipeline(STREAMS)
    rebuilt.restore(changelog(first), NOW + timedelta(days=1))
    assert rebuilt.process([raw(line("1")), raw(line("3"))], NOW + timedelta(days=1)).accepted == 1
    assert rebuilt.process([raw(line("1"))], NOW + timedelta(days=9)).accepted == 1


def test_the_changelog_goes_to_the_inputs_partition_and_only_when_there_is_news():
    """One record per batch with new fingerprints, none otherwise."""
    pipeline = CleanPipeline(STREAMS)
    batch = pipeline.process([raw(line("1"))], NOW)
    assert [out.partition for out in batch.outgoing if out.topic == topics.DEDUPE_LOG.name] == [1]
    assert pipeline.process([raw(line("1")), raw(b"junk")], NOW).accepted == 0
    assert changelog(pipeline.process([], NOW)) == []


def test_a_rejected_event_passes_once_it_is_mended():
    """A rejection leaves no trace in the dedupe state."""
    pipeline = CleanPipeline(STREAMS)
    broken = pipeline.process([raw(line("1", time="soon"))], NOW)
    assert broken.rejected == {Reason.BAD_TIMESTAMP: 1}
    assert pipeline.process([raw(line("1"))], NOW).accepted == 1


def test_a_rejection_keeps_the_original():
    """The dead letter has bytes, headers, key, reason, field, identity and place."""
    value = line("1", {"no": "text"})
    batch = CleanPipeline(STREAMS).process([raw(value, 5, (("trace", b"\xff"),))], NOW)
    (letter,) = dead(batch)
    assert letter.original == value
    assert letter.headers == (("trace", b"\xff"),)
    assert (letter.key, letter.stage, letter.reason, letter.field) == (
        b"key",
        "clean",
        Reason.WRONG_TYPE,
        "data.message",
    )
    assert (letter.source, letter.id, letter.raw) == ("web-1", "1", Coordinates("events.raw", 1, 5))
    assert letter.rejected_at == NOW


def test_a_huge_message_is_rejected_within_the_brokers_limits():
    """What does not fit a record is cut, and says so."""
    (letter,) = dead(CleanPipeline(STREAMS).process([raw(b"x" * (MAX_ORIGINAL_BYTES + 1))], NOW))
    assert letter.reason is Reason.OVERSIZED
    assert len(letter.original) == MAX_ORIGINAL_BYTES
    assert "bytes are kept" in letter.message


def test_each_stream_has_its_own_size_limit():
    """A stream with a smaller limit than another still keeps it."""
    small = Stream.model_validate({"kind": "log", "clean": {"max_bytes": 100}})
    batch = CleanPipeline({**STREAMS, "small": small}).process([raw(line("1", stream="small"))], NOW)
    assert batch.rejected == {Reason.OVERSIZED: 1}


@given(st.lists(st.binary(max_size=120) | st.sampled_from([line("1"), line("2"), b"", b"[]"]), max_size=12))
def test_no_bytes_stop_a_batch(values):
    """Every record is accepted, a duplicate or rejected, whatever it holds."""
    batch = CleanPipeline(STREAMS).process([raw(value, at) for at, value in enumerate(values)], NOW)
    assert batch.accepted + batch.duplicates + batch.rejected.total() == len(values)
    assert [letter.original for letter in dead(batch)] == [
        v for v in values if v not in (line("1"), line("2"))
    ]


@given(st.lists(st.integers(0, 12), max_size=40), st.integers(0, 40))
def test_snapshots_change_nothing(identities, cut):
    """A pipeline loaded from a snapshot goes on exactly as the original would have."""
    events = [
        msgspec.json.encode(
            structured(str(i), "s", Kind.SENSOR, {"values": {"a": i * 1.5, "b": None if i % 2 else 1}})
        )
        for i in identities
    ]
    records = [raw(event, at) for at, event in enumerate(events)]
    original = CleanPipeline(STREAMS)
    original.process(records[:cut], NOW)
    copy = CleanPipeline.load(original.snapshot(), STREAMS, NOW)
    assert copy.process(records[cut:], NOW) == original.process(records[cut:], NOW)


def test_cleaning_is_idempotent_on_text():
    """The text of a clean event, sent again, is the text of that event."""
    pipeline = CleanPipeline(STREAMS)
    (first,) = cleaned(pipeline.process([raw(line("1", "bob@x.org paid 12.50 from 10.0.0.1\x07  é"))], NOW))
    (second,) = cleaned(pipeline.process([raw(line("2", first.text))], NOW))
    assert second.text == first.text


def by(**sections: Any) -> dict[str, Stream]:
    """The streams, of which the readings and the lines have other settings."""
    others = {
        name: Stream.model_validate({"kind": kind.value, **sections})
        for name, kind in {"host": Kind.SENSOR, "logs": Kind.LOG}.items()
    }
    return {**STREAMS, **others}


def reading(event_id: str, **values: float | None) -> bytes:
    """Encode a sensor's event."""
    return msgspec.json.encode(structured(event_id, "s", Kind.SENSOR, {"values": values}))


def test_other_settings_hold_from_the_next_batch_and_nothing_is_forgotten():
    """Limits and rules are the new ones; ids, texts and readings of before are known, under both paths."""
    for fast in (True, False):
        pipeline = CleanPipeline(STREAMS, fast=fast)
        pipeline.process([raw(reading("1", a=3.0)), raw(line("2", "started now"))], NOW)
        pipeline.take(by(clean={"max_bytes": 300, "ranges": {"a": (0, 5)}}), NOW)
        batch = pipeline.process(
            [
                raw(reading("1", a=3.0)),
                raw(line("2", "started now")),
                raw(reading("3", a=None)),
                raw(reading("4", a=9.0)),
                raw(line("5", "x" * 300)),
                raw(line("6")),
            ],
            NOW,
        )
        assert batch.duplicates == 2
        assert batch.rejected == {Reason.OUT_OF_RANGE: 1, Reason.OVERSIZED: 1}
        assert [clean.values for clean in cleaned(batch)] == [{"a": 3.0}, {}]


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(0, 30), st.sampled_from(["1h", "7d", "14d"]))
def test_an_id_is_cleaned_once_whatever_the_window_changes_to(identities, cut, window):
    """A changed window keeps what was seen within it, in the table of the newest and in the changelog."""
    records = [raw(reading(str(number), a=1.0), at) for at, number in enumerate(identities)]
    pipeline = CleanPipeline(STREAMS)
    memories = pipeline.memories
    first = pipeline.process(records[:cut], NOW)
    pipeline.take(by(dedupe={"window": window, "near": 0.9}), NOW)
    second = pipeline.process(records[cut:], NOW + timedelta(minutes=1))
    assert first.accepted + second.accepted == len(set(identities))
    assert pipeline.memories is memories
    assert memories["host"].window_s == by(dedupe={"window": window})["host"].dedupe.window
    pipeline.take(STREAMS, NOW + timedelta(minutes=2))
    third = pipeline.process(records, NOW + timedelta(minutes=2))
    assert third.accepted == 0


def test_the_same_settings_change_nothing():
    """A stream that is as it was goes on with the very same parts."""
    pipeline = CleanPipeline(STREAMS)
    pipeline.process([raw(line("1"))], NOW)
    before = dict(pipeline.memories)
    pipeline.take(dict(STREAMS), NOW)
    assert all(pipeline.memories[name] is memory for name, memory in before.items())
