"""Where the lines of files are cleaned."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.runtime.kafka.partitioner import partition_of
from infra.runtime.settings import parse
from schemas.config import Stream
from schemas.raw import structured
from schemas.record import Incoming, Kind
from streams.engines.memory import MemoryRecord
from streams.jobs.files import Homes, kept_bytes
from streams.operators.dead_letter import MAX_ORIGINAL_BYTES
from streams.operators.home import Home
from streams.operators.pipeline import CleanPipeline

PARTITIONS = 5
NOW = datetime(2026, 3, 1, tzinfo=UTC)
FILE = "file:///archive/day.jsonl"
STREAMS = parse(
    """
    [streams.plain]
    kind = "log"
    clean = { utf8 = "repair" }
    [streams.spread]
    kind = "log"
    dedupe = { rekey = "always" }
    [streams.left]
    kind = "log"
    dedupe = { rekey = "never" }
    """,
    "the test",
).streams


def _line(value: bytes, number: int = 1) -> Incoming:
    return MemoryRecord(FILE, 0, number, 0, None, value)


def _event(source: str, id: str, stream: str, **more: Any) -> bytes:
    event = structured(id, source, Kind.LOG, {"message": id}, stream=stream) | more
    return json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("stream", ["plain", "left"])
def test_an_event_is_at_home_with_its_source(stream: str):
    """As publishers key it, also where the stage forwards nothing."""
    homes = Homes(STREAMS, PARTITIONS)
    for source in ("web-1", "web-2", "größe"):
        wanted = partition_of(source.encode(), PARTITIONS)
        assert {homes.of(_line(_event(source, str(n), stream))) for n in range(5)} == {wanted}


def test_a_spread_stream_goes_by_identity():
    """The copies of one event meet, the events of one source are spread."""
    homes = Homes(STREAMS, PARTITIONS)
    found = [homes.of(_line(_event("web-1", str(number), "spread"))) for number in range(100)]
    assert found == [
        homes.of(_line(_event("web-1", str(number), "spread", time="x"))) for number in range(100)
    ]
    assert set(found) == set(range(PARTITIONS))


_VALUES = st.one_of(
    st.binary(max_size=30),
    st.builds(
        _event,
        st.text(min_size=1, max_size=4),
        st.text(min_size=1, max_size=4),
        st.sampled_from([*STREAMS, "unknown", ""]),
    ),
    st.just(_event("web-1", "1", "plain").replace(b"web-1", b"web-\xff")),
    st.just(b"x" * 300_000),
)


@given(st.lists(_VALUES, max_size=20))
def test_nothing_is_forwarded_and_no_line_is_lost(values: list[bytes]):
    """Where a line is put, the stage cleans or rejects it; the lines of each partition keep their order."""
    lines = [_line(value, number) for number, value in enumerate(values)]
    split = Homes(STREAMS, PARTITIONS).split(lines)
    assert sorted(line.offset for found in split.values() for line in found) == list(range(len(lines)))
    for partition, found in split.items():
        assert [line.offset for line in found] == sorted(line.offset for line in found)
        pipeline = CleanPipeline(STREAMS, Home(PARTITIONS, partition_of))
        met = [line._replace(partition=partition) for line in found if isinstance(line, MemoryRecord)]
        batch = pipeline.process(met, NOW)
        assert batch.forwarded == 0
        assert batch.accepted + batch.duplicates + batch.rejected.total() == len(found)


def test_enough_of_a_line_is_kept_to_reject_it():
    """More than a stream accepts, and than a dead letter holds."""
    assert kept_bytes(STREAMS) == MAX_ORIGINAL_BYTES + 1
    large = Stream.model_validate({"kind": "log", "clean": {"max_bytes": 5_000_000}})
    assert kept_bytes({"large": large}) == 5_000_001
    assert (
        kept_bytes({"large": Stream.model_validate({"kind": "log", "clean": {"max_bytes": 2**40}})}) == 2**30
    )
