"""Content duplicates, near-duplicates and count windows inside the cleaning stage: outputs, counts, state."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.clean import Clean
from schemas.codec import decode
from schemas.config import Stream
from schemas.raw import structured
from schemas.record import Kind
from streams.engines.memory import MemoryRecord
from streams.operators.batch import Batch
from streams.operators.pipeline import CleanPipeline

NOW = datetime(2026, 3, 14, 9, 27, tzinfo=UTC)
LINE = "connection closed by the remote host while reading the header block"


def configured(**sections: Any) -> dict[str, Stream]:
    """Return one stream of logs and one of readings, both with the same sections."""
    return {kind: Stream.model_validate({"kind": kind, **sections}) for kind in ("log", "sensor")}


def line(event_id: str, message: str = LINE, second: int = 0, source: str = "web-1") -> MemoryRecord:
    """Make an incoming log event."""
    time = f"2026-03-14T09:26:{second:02d}Z"
    event = structured(event_id, source, Kind.LOG, {"message": message}, time=time)
    return MemoryRecord("events.raw", 1, 0, 1_773_480_413_000, b"key", msgspec.json.encode(event))


def reading(event_id: str, **values: float) -> MemoryRecord:
    """Make an incoming sensor event."""
    event = structured(event_id, "host", Kind.SENSOR, {"values": values})
    return MemoryRecord("events.raw", 1, 0, 1_773_480_413_000, b"key", msgspec.json.encode(event))


def cleaned(batch: Batch) -> list[Clean]:
    """Decode a batch's clean events."""
    return [decode(out.value, Clean) for out in batch.outgoing if out.topic == topics.CLEAN.name]


def changelog(batch: Batch) -> list[bytes]:
    """Return a batch's changelog records."""
    return [out.value for out in batch.outgoing if out.topic == topics.DEDUPE_LOG.name]


CONTENT = configured(dedupe={"content": True})
FLAG = configured(dedupe={"near": 0.8})
DROP = configured(dedupe={"near": 0.8, "near_action": "drop"})


def test_by_default_content_does_not_count():
    """Equal payloads under two ids are two events, without flags and without another memory."""
    batch = CleanPipeline(configured()).process([line("1"), line("2")], NOW)
    assert (batch.accepted, batch.duplicates) == (2, 0)
    assert cleaned(batch)[1].flags.near_duplicate_of == ""
    assert list(CleanPipeline(configured()).memories) == list(configured())


def test_content_duplicates_are_dropped_and_counted():
    """Within a batch and after a rebuild from the changelog; another second or source is another event."""
    pipeline = CleanPipeline(CONTENT)
    first = pipeline.process([line("1"), line("2"), line("3", second=1), line("4", source="web-2")], NOW)
    assert (first.accepted, first.duplicates) == (3, 1)
    rebuilt = CleanPipeline(CONTENT)
    rebuilt.restore(changelog(first), NOW + timedelta(days=1))
    assert rebuilt.process([line("5")], NOW + timedelta(days=1)).duplicates == 1
    assert rebuilt.process([line("6")], NOW + timedelta(days=9)).accepted == 1


def test_content_is_still_known_among_many():
    """What has left the dictionary of the newest is found in the table of older ones."""
    pipeline = CleanPipeline(CONTENT)
    records = [line(str(number), f"line {number}") for number in range(40_000)]
    assert pipeline.process(records, NOW).accepted == 40_000
    again = [line(f"again-{number}", f"line {number}") for number in range(100)]
    assert pipeline.process(again, NOW + timedelta(hours=30)).duplicates == 100


def test_a_rejected_event_leaves_no_content():
    """A refused event's content is not remembered: its mended copy under another id passes."""
    streams = configured(dedupe={"content": True}, clean={"ranges": {"temp": [0, 10]}})
    event = structured("1", "host", Kind.SENSOR, {"values": {"temp": 50}}, time="2026-03-14T09:26:00Z")
    record = MemoryRecord("events.raw", 1, 0, 0, b"", msgspec.json.encode(event))
    pipeline = CleanPipeline(streams)
    assert pipeline.process([record, record], NOW).rejected.total() == 2


def test_near_duplicates_are_flagged_with_the_first():
    """The flag names the first event of the likeness, across batches and a rebuild from the changelog."""
    pipeline = CleanPipeline(FLAG)
    first = pipeline.process([line("1"), line("2", LINE + "s"), line("3", "another text altogether")], NOW)
    assert [clean.flags.near_duplicate_of for clean in cleaned(first)] == ["", "1", ""]
    assert (first.accepted, first.duplicates) == (3, 0)
    rebuilt = CleanPipeline(FLAG)
    rebuilt.restore(changelog(first), NOW + timedelta(minutes=50))
    (clean,) = cleaned(rebuilt.process([line("4", LINE + "!")], NOW + timedelta(minutes=50)))
    assert clean.flags.near_duplicate_of == "1"
    (clean,) = cleaned(rebuilt.process([line("5", LINE + "!")], NOW + timedelta(minutes=70)))
    assert clean.flags.near_duplicate_of == ""


def test_near_duplicates_are_dropped_where_that_is_asked():
    """Dropped, counted as duplicates, and nothing is remembered of them."""
    pipeline = CleanPipeline(DROP)
    batch = pipeline.process([line("1"), line("2", LINE + "s"), line("3", source="web-2")], NOW)
    assert (batch.accepted, batch.duplicates) == (2, 1)
    assert [clean.id for clean in cleaned(batch)] == ["1", "3"]


def test_a_count_window_comes_with_the_event():
    """The last readings of the source by name, this event's last; without the setting it is empty."""
    pipeline = CleanPipeline(configured(clean={"window": 2}))
    records = [reading(str(n), cpu=float(n), **({"mem": 5.0} if n == 1 else {})) for n in range(3)]
    windows = [clean.window for clean in cleaned(pipeline.process(records, NOW))]
    assert windows == [{"cpu": (0.0,)}, {"cpu": (0.0, 1.0), "mem": (5.0,)}, {"cpu": (1.0, 2.0)}]
    (plain,) = cleaned(CleanPipeline(configured()).process([reading("1", cpu=1.0)], NOW))
    assert plain.window == {}


def test_each_memory_has_a_name_and_a_time():
    """The changelog tells the memories apart; no near window outlasts that of the identities."""
    streams = configured(dedupe={"window": "1d", "content": True, "near": 0.9, "near_window": "7d"})
    assert {name: memory.window_s for name, memory in CleanPipeline(streams).memories.items()} == {
        name + part: 86_400.0 for name in ("log", "sensor") for part in ("", "#content", "#near")
    }


ARRIVALS = st.lists(
    st.tuples(st.integers(0, 20), st.sampled_from([LINE, LINE + "s", "disk full"]), st.integers(0, 1)),
    max_size=25,
)


@pytest.mark.parametrize("action", ["flag", "drop"])
@given(arrivals=ARRIVALS, cut=st.integers(0, 25))
@settings(deadline=None, max_examples=50)
def test_changelog_and_snapshot_change_nothing(action, arrivals, cut):
    """A pipeline rebuilt from the changelog, or loaded from a snapshot, goes on as the original."""
    streams = configured(
        dedupe={"content": True, "near": 0.8, "near_action": action, "near_texts": 16}, clean={"window": 3}
    )
    records = [line(str(event_id), text, second) for event_id, text, second in arrivals]
    original, rebuilt = CleanPipeline(streams), CleanPipeline(streams)
    rebuilt.restore(changelog(original.process(records[:cut], NOW)), NOW)
    loaded = CleanPipeline.load(original.snapshot(), streams, NOW)
    expected = original.process(records[cut:], NOW)
    assert rebuilt.process(records[cut:], NOW) == expected
    assert loaded.process(records[cut:], NOW) == expected
