"""Paused streams in the cleaning pipeline: their events go round unchanged, and are cleaned once."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.config import Stream
from schemas.raw import structured
from schemas.record import Incoming, Kind, Outgoing
from streams.operators.batch import Batch
from streams.operators.carried import Original
from streams.operators.park import Pauses
from streams.operators.pipeline import CleanPipeline

NOW = datetime(2026, 3, 14, 9, tzinfo=UTC)
STREAMS = {"requests": Stream(kind=Kind.API), "host": Stream(kind=Kind.SENSOR)}
DATA: dict[Kind, dict[str, Any]] = {
    Kind.API: {"method": "GET", "path": "/"},
    Kind.SENSOR: {"values": {"cpu": 1.0}},
}


def raw(offset: int, kind: Kind, number: int) -> Incoming:
    """An event as published."""
    event = structured(str(number), "s", kind, DATA[kind], time=NOW.isoformat())
    return Original("events.raw", 0, offset, 0, b"s", msgspec.json.encode(event), (("trace", b"1"),))


class Lane:
    """A pipeline with its `events.parked`, as the worker runs it."""

    def __init__(self) -> None:
        self.pipeline = CleanPipeline(STREAMS)
        self.parked: list[Incoming] = []
        self.position = 0
        self.clean: list[str] = []

    def take(self, records: list[Incoming], pauses: Pauses, *, parked: bool = False) -> Batch:
        """Process a batch and write its outputs."""
        batch = self.pipeline.process(records, NOW, parked=parked, pauses=pauses)
        for out in batch.outgoing:
            self._write(out)
        return batch

    def read_back(self, pauses: Pauses) -> None:
        """Read what is parked now."""
        records = self.parked[self.position :]
        self.position = len(self.parked)
        if records:
            self.take(records, pauses, parked=True)

    def _write(self, out: Outgoing) -> None:
        if out.topic == topics.PARKED.name:
            assert out.partition == 0
            record = Original(out.topic, 0, len(self.parked), 0, out.key, out.value, tuple(out.headers))
            self.parked.append(record)
        elif out.topic == topics.CLEAN.name:
            clean = msgspec.json.decode(out.value)
            self.clean.append(f"{clean['stream']}/{clean['id']}@{clean['raw']['offset']}")


def test_paused_events_wait_and_the_others_pass() -> None:
    """Nothing of a paused stream is cleaned, remembered or rejected; it keeps its place and headers."""
    lane = Lane()
    records = [raw(0, Kind.API, 1), raw(1, Kind.SENSOR, 1), raw(2, Kind.API, 1)]
    batch = lane.take(records, Pauses(frozenset({"requests"}), 7))
    assert lane.clean == ["host/1@1"]
    assert (batch.accepted, batch.duplicates, batch.parked) == (1, 0, Counter(requests=2))
    lane.read_back(Pauses())
    assert lane.clean == ["host/1@1", "requests/1@0"]
    assert batch.by_stream["host"].accepted == 1
    assert "requests" not in batch.by_stream


def test_what_cannot_be_read_is_rejected_although_everything_is_paused() -> None:
    """Bytes that belong to no stream do not wait."""
    lane = Lane()
    batch = lane.take([Original("events.raw", 0, 0, 0, None, b"{")], Pauses(frozenset({"requests", "host"})))
    assert batch.rejected.total() == 1
    assert batch.by_stream[""].rejected == batch.rejected
    assert lane.parked == []


@given(
    steps=st.lists(
        st.tuples(
            st.lists(st.tuples(st.sampled_from([Kind.API, Kind.SENSOR]), st.integers(0, 5)), max_size=4),
            st.frozensets(st.sampled_from(["requests", "host"])),
        ),
        max_size=6,
    )
)
def test_however_pauses_come_and_go_each_event_is_cleaned_once(
    steps: list[tuple[list[tuple[Kind, int]], frozenset[str]]],
) -> None:
    """After everything is resumed the clean ids are those that were sent, each once, and tallies add up."""
    lane = Lane()
    offset, sent = 0, set()
    for epoch, (events, paused) in enumerate(steps):
        records = []
        for kind, number in events:
            records.append(raw(offset, kind, number))
            offset += 1
            sent.add(f"{'requests' if kind is Kind.API else 'host'}/{number}")
        batch = lane.take(records, Pauses(paused, epoch))
        assert sum(tally.accepted for tally in batch.by_stream.values()) == batch.accepted
        assert sum(tally.duplicates for tally in batch.by_stream.values()) == batch.duplicates
        assert batch.accepted + batch.duplicates + batch.parked.total() == len(records)
        lane.read_back(Pauses(paused, epoch))
    lane.read_back(Pauses())
    assert Counter(entry.partition("@")[0] for entry in lane.clean) == Counter(sent)
