"""The in-memory engine, which the others are compared with."""

from datetime import UTC, datetime

import msgspec

from schemas import topics
from schemas.config import Stream
from schemas.raw import structured
from schemas.record import Kind
from streams.engines.memory import MemoryEngine

NOW = datetime(2026, 3, 14, 9, 27, tzinfo=UTC)


def published(engine: MemoryEngine, count: int) -> None:
    """Publish every event twice, and one that is broken."""
    for at in [*range(count), *range(count)]:
        source = f"web-{at % 5}"
        event = structured(str(at), source, Kind.LOG, {"message": f"line {at}"})
        engine.publish(msgspec.json.encode(event), key=source.encode(), timestamp_ms=1_773_480_413_000)
    engine.publish(b"{", key=b"web-1", timestamp_ms=0)


def test_every_event_once_whatever_the_batches():
    """Batch boundaries change nothing about what comes out."""
    results = []
    for size in (1, 7, 1000):
        engine = MemoryEngine({"logs": Stream(kind=Kind.LOG)})
        published(engine, 40)
        batches = engine.run(NOW, max_records=size)
        assert sum(batch.duplicates for batch in batches) == 40
        results.append([record.value for record in engine.records(topics.CLEAN)])
        assert len(engine.records(topics.DEAD)) == 1
    assert results[0] == results[1] == results[2]
    assert len(results[0]) == 40


def test_a_crash_forgets_nothing():
    """After a restart from the changelog, copies of old events are still dropped."""
    engine = MemoryEngine({"logs": Stream(kind=Kind.LOG)})
    published(engine, 20)
    engine.run(NOW)
    engine.crash(NOW)
    published(engine, 20)
    engine.run(NOW)
    assert len(engine.records(topics.CLEAN)) == 20
