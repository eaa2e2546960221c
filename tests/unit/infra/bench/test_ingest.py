"""The figures of the ingest benchmark: latency bounds, percentiles, events that the contracts accept."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.bench.ingest.events import SOURCES, Maker, partitions, source_of
from infra.bench.ingest.figures import by_second, lag, latencies_ms, percentiles
from infra.bench.ingest.plan import IngestPlan
from infra.bench.ingest.probe import Sighting
from infra.bench.ingest.usage import Sample, cores
from infra.runtime.kafka.partitioner import partition_of
from schemas.envelope import decode_event
from schemas.event_time import parse
from schemas.record import Kind

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.lists(st.tuples(st.floats(0.001, 2.0), st.integers(1, 50)), min_size=1, max_size=30))
def test_an_event_is_seen_at_the_first_sighting_that_reaches_it(steps):
    """The bound is the first answer whose offset is not below the event's, for every event."""
    sightings, at_s, end = [], 100.0, -1
    for wait_s, more in steps:
        at_s, end = at_s + wait_s, end + more
        sightings.append(Sighting(at_s, end + 1, {0: end}))
    offsets = np.arange(end + 1, dtype=np.int64)
    due_us = np.full(end + 1, 100_000_000, dtype=np.int64)
    expected = [next(s.at_s for s in sightings if s.ends[0] >= offset) * 1e3 - 1e5 for offset in offsets]
    assert latencies_ms(sightings, 0, offsets, due_us) == pytest.approx(expected)


def test_an_event_that_was_never_seen_is_told():
    """A latency is never made up for an event behind the last sighting."""
    with pytest.raises(ValueError, match="never seen"):
        latencies_ms([Sighting(1.0, 1, {0: 5})], 0, np.array([6]), np.array([0]))


def test_percentiles_are_over_events():
    """A thousand fast events and ten slow ones are what they are, second by second as well."""
    values = np.concatenate([np.full(990, 50.0), np.full(10, 900.0)])
    assert percentiles(values) == {"p50": 50.0, "p95": 50.0, "p99": pytest.approx(58.5)}
    due_s = np.concatenate([np.full(990, 7.2), np.full(10, 9.9)])
    first, last = by_second(due_s, values)
    assert (first["at_s"], first["p99"]) == (0.0, 50.0)
    assert (last["at_s"], last["p50"]) == (2.0, 900.0)


def test_lag_is_what_is_due_and_not_seen():
    """Counted from the schedule, not from what the load managed to send."""
    plan = IngestPlan(home=Path(), rate=100.0, seconds=10.0, warm_up_s=0.0)
    sightings = [Sighting(1001.0, 60, {}), Sighting(1001.5, 90, {}), Sighting(1002.0, 130, {})]
    assert lag(sightings, 1000.0, plan, base_rows=10) == [
        {"at_s": 1.0, "events": 50},
        {"at_s": 2.0, "events": 80},
    ]


def test_cores_are_processor_time_over_time():
    """A process that came only later has no share."""
    first, last = Sample(10.0, {"a": 1.0}, {}), Sample(20.0, {"a": 6.0, "b": 1.0}, {})
    assert cores([first, last]) == {"a": 0.5}
    assert cores([first]) == {}


@pytest.mark.parametrize("kind", list(Kind))
@given(st.integers(0, 10**9), st.integers(0, 4_000_000_000_000_000))
def test_events_keep_the_contract(kind, sequence, at_us):
    """Every event decodes, and carries its number, its source and its moment to the microsecond."""
    event = decode_event(Maker(kind).make(sequence, at_us))
    assert (event.id, event.source, event.kind) == (str(sequence), source_of(sequence).decode(), kind)
    assert (parse(event.time) - EPOCH) // timedelta(microseconds=1) == at_us


def test_sources_cover_every_partition():
    """The load goes where every Kafka client would send it, and to all partitions."""
    assert set(partitions(2)) == {0, 1}
    assert partitions(3) == [partition_of(source_of(number), 3) for number in range(SOURCES)]
