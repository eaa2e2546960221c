"""Pauses on Flink: however they come and go, also over restarts, nothing is lost, doubled or overtaken."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import topics
from schemas.config import Stream
from schemas.raw import structured
from schemas.record import Incoming, Kind
from streams.jobs import pausing
from streams.jobs.held import STAGE, Held
from streams.jobs.orders import Paused
from streams.jobs.packing import batch_of, laid
from streams.jobs.packing import read as unpacked
from streams.jobs.pausing import PausingLane
from streams.jobs.state import LaneState
from streams.operators.batch import Batch
from streams.operators.carried import Original
from streams.operators.pipeline import CleanPipeline

NOW = datetime(2026, 3, 14, 9, tzinfo=UTC)
STREAMS = {"requests": Stream(kind=Kind.API), "host": Stream(kind=Kind.SENSOR)}
DATA: dict[Kind, dict[str, Any]] = {
    Kind.API: {"method": "GET", "path": "/"},
    Kind.SENSOR: {"values": {"cpu": 1.0}},
}
NOTHING = Paused()
REQUESTS = Paused(frozenset({"requests"}))
ALL = Paused(stage=True)


class _Map(dict[Any, Any]):
    """Flink's map of one key."""

    def put(self, key: Any, value: bytes) -> None:
        self[key] = value

    def remove(self, key: Any) -> None:
        del self[key]


def raw(offset: int, kind: Kind, number: int) -> Original:
    """An event as published."""
    event = structured(str(number), kind.value, kind, DATA[kind], time=NOW.isoformat())
    key = kind.value.encode()
    return Original("events.raw", 0, offset, 0, key, msgspec.json.encode(event), (("trace", b"1"),))


class Lane:
    """A lane whose state outlives it, and what it wrote."""

    def __init__(self) -> None:
        self.maps = [_Map() for _ in range(5)]
        self.clean: list[str] = []
        self.parked: list[Incoming] = []
        self.restart()

    def restart(self) -> None:
        """Make it anew from its state, as after a kill or in another task."""
        pipeline, state = CleanPipeline(STREAMS), LaneState(*self.maps[:3])
        state.restore(pipeline, NOW)
        self.lane = PausingLane(pipeline, state, Held(*self.maps[3:]), 0, "")

    def take(self, records: Iterable[Incoming], paused: Paused, topic: str = "events.raw") -> None:
        """Hand it a batch."""
        if records := list(records):
            self._write(self.lane.take(topic, batch_of(records), NOW, paused))

    def settle(self, paused: Paused = NOTHING) -> int:
        """Let it work off what may go on; returns in how many portions."""
        portions = 0
        while self.lane.due(paused):
            self._write(self.lane.work_off(NOW, paused))
            portions += 1
        return portions

    def give_up(self) -> None:
        """End its input."""
        self._write(self.lane.give_up(NOW))

    def _write(self, batches: Iterable[Batch]) -> None:
        for batch in batches:
            for packed in laid(batch.outgoing.packed):
                for record in unpacked("events.clean", 0, packed):
                    clean = msgspec.json.decode(record.value or b"")
                    self.clean.append(f"{clean['stream']}/{clean['id']}@{clean['raw']['offset']}")
            for out in batch.outgoing.others:
                if out.topic == topics.PARKED.name:
                    at = len(self.parked)
                    self.parked.append(Original(out.topic, 0, at, 0, out.key, out.value, tuple(out.headers)))


def test_a_paused_stream_waits_in_the_state_and_the_others_go_on() -> None:
    """Nothing of it reaches Kafka, also after a restart; resumed it is cleaned before what came later."""
    lane = Lane()
    lane.take([raw(0, Kind.API, 0), raw(1, Kind.SENSOR, 1)], REQUESTS)
    assert (lane.clean, lane.parked, lane.lane.held) == (["host/1@1"], [], 1)
    assert not lane.lane.due(REQUESTS)
    lane.restart()
    assert (lane.lane.held, lane.lane.due(NOTHING)) == (1, True)
    lane.take([raw(2, Kind.API, 2), raw(3, Kind.API, 0)], NOTHING)
    assert lane.clean == ["host/1@1", "requests/0@0", "requests/2@2"]  # and the copy was dropped
    assert (lane.lane.held, lane.maps[3], lane.maps[4]) == (0, {}, {})


def test_a_paused_stage_takes_nothing_not_even_what_it_would_reject() -> None:
    """What comes waits unread, beside what waits for its stream, and keeps its place behind it."""
    lane = Lane()
    lane.take([raw(0, Kind.API, 0)], REQUESTS)
    lane.take([raw(1, Kind.API, 1), Original("events.raw", 0, 2, 0, None, b"{"), raw(3, Kind.SENSOR, 3)], ALL)
    assert (lane.clean, lane.lane.held, STAGE in lane.maps[3]) == ([], 4, True)
    lane.settle(REQUESTS)
    assert (lane.clean, lane.lane.held) == (["host/3@3"], 2)
    lane.settle()
    assert lane.clean == ["host/3@3", "requests/0@0", "requests/1@1"]


def test_what_waits_is_worked_off_in_portions_and_new_events_do_not_overtake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A timer's call has a bound; an event that comes meanwhile joins the end."""
    monkeypatch.setattr(pausing, "PORTION_BYTES", 1)
    lane = Lane()
    for number in range(5):
        lane.take([raw(number, Kind.API, number)], REQUESTS)
    lane.take([raw(5, Kind.API, 5), raw(6, Kind.SENSOR, 6)], NOTHING)
    assert lane.clean == ["requests/0@0", "host/6@6"]
    assert lane.settle() == 5
    assert lane.clean[2:] == [f"requests/{number}@{number}" for number in range(1, 6)]


def test_an_ending_lane_hands_on_what_waits_and_another_takes_it() -> None:
    """Whether its stream is still paused there or not; each event keeps its place on `events.raw`."""
    first, second = Lane(), Lane()
    first.take([raw(0, Kind.API, 0)], REQUESTS)
    first.take([raw(1, Kind.API, 1), raw(2, Kind.SENSOR, 2)], ALL)
    first.give_up()
    assert (first.clean, first.lane.held, first.lane.due(NOTHING)) == ([], 0, False)
    second.take(first.parked, REQUESTS, topics.PARKED.name)
    assert (second.clean, second.lane.held) == (["host/2@2"], 2)
    second.settle()
    assert second.clean == ["host/2@2", "requests/0@0", "requests/1@1"]


_EVENTS = st.lists(st.tuples(st.sampled_from([Kind.API, Kind.SENSOR]), st.integers(0, 8)), max_size=4)
_PAUSED = st.builds(Paused, st.frozensets(st.sampled_from(["requests", "host"])), st.booleans())


@given(steps=st.lists(st.tuples(_EVENTS, _PAUSED, st.booleans(), st.booleans()), max_size=8))
def test_pauses_change_nothing_but_the_time(
    steps: list[tuple[list[tuple[Kind, int]], Paused, bool, bool]],
) -> None:
    """After everything is resumed each stream's clean events are those without a pause, in their order."""
    lane, steady, offset = Lane(), Lane(), 0
    for events, paused, timer, restart in steps:
        records = [raw(offset + at, kind, number) for at, (kind, number) in enumerate(events)]
        offset += len(records)
        lane.take(records, paused)
        steady.take(records, NOTHING)
        if timer:
            lane.settle(paused)
        if restart:
            lane.restart()
    lane.settle()
    for stream in STREAMS:
        assert [e for e in lane.clean if e.startswith(stream)] == [
            e for e in steady.clean if e.startswith(stream)
        ]
    assert (lane.lane.held, lane.parked) == (0, [])
