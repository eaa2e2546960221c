"""A lane's state in Flink: a pipeline made from it goes on as the one that wrote it."""

import json
from datetime import UTC, datetime
from typing import Any

from schemas.config import Stream
from schemas.raw import structured
from schemas.record import Kind
from streams.engines.memory import MemoryRecord
from streams.jobs.state import LaneState, kept_s
from streams.operators.pipeline import CleanPipeline

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class _Map(dict[Any, bytes]):
    def put(self, key: Any, value: bytes) -> None:
        self[key] = value

    def remove(self, key: Any) -> None:
        del self[key]


def _records(first: int, count: int) -> list[MemoryRecord]:
    made = []
    for number in range(first, first + count):
        values = {"a": float(number % 7), "b": None if number % 5 == 0 else 1.0 * number}
        source = f"press/{number % 3}"
        event = structured(f"{number}", source, Kind.SENSOR, {"values": values}, time=NOW.isoformat())
        made.append(MemoryRecord("events.raw", 0, number, 0, source.encode(), json.dumps(event).encode()))
    return made


def _run(pipeline: CleanPipeline, state: LaneState, records: list[MemoryRecord]) -> list[Any]:
    batch = pipeline.process(records, NOW)
    state.remember([r.value for r in batch.outgoing.others if r.topic == "dedupe.log"], NOW)
    state.keep(pipeline, batch.by_stream)
    return list(batch.outgoing)


def test_a_restored_lane_goes_on_as_if_it_never_stopped():
    """Duplicates, gaps filled from before, outliers and count windows: all are as without the restart."""
    streams = {"plant": Stream.model_validate({"kind": "sensor", "clean": {"window": 3, "missing": "mean"}})}
    maps = (_Map(), _Map(), _Map())
    first, state = CleanPipeline(streams), LaneState(*maps)
    for at in range(0, 120, 40):
        _run(first, state, _records(at, 40))
    second, again = CleanPipeline(streams), LaneState(*maps)
    assert again.restore(second, NOW)
    coming = _records(100, 60)  # twenty of them a second time
    assert _run(second, again, coming) == _run(first, LaneState(_Map(), _Map(), _Map()), coming)


def test_a_new_lane_has_no_state_and_unchanged_sources_are_not_written_again():
    """So that a lane knows when to ask `dedupe.log`, and a checkpoint holds what is new alone."""
    streams = {"plant": Stream.model_validate({"kind": "sensor"})}
    recent = _Map()
    pipeline, state = CleanPipeline(streams), LaneState(_Map(), recent, _Map())
    assert not state.restore(pipeline, NOW)
    _run(pipeline, state, _records(0, 30))
    written = dict(recent)
    recent.clear()
    _run(pipeline, state, _records(30, 1))  # one source
    assert len(written) == 3 and len(recent) == 1
    assert kept_s(pipeline) > 7 * 86400


def test_numbers_go_on_when_the_clock_stands_still():
    """Two changes of one moment are two entries."""
    log = _Map()
    state = LaneState(log, _Map(), _Map())
    state.remember([b"a", b"b"], NOW)
    state.remember([b"c"], NOW)
    assert [log[key] for key in sorted(log)] == [b"a", b"b", b"c"]
