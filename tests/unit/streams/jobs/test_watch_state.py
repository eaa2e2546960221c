"""A watch's state in Flink: one made from it is the one that wrote it, whenever that was."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest

from schemas.clean import Clean
from schemas.codec import encode
from schemas.config import Stream
from schemas.drift import Signal
from schemas.record import Coordinates, Kind
from streams.drift.feed import WatchFeed
from streams.drift.watch import DriftWatch
from streams.jobs.packing import batch_of
from streams.jobs.watch_state import Run, WatchState, take
from streams.operators.carried import Original
from tests.unit.streams.jobs.test_state import _Map

NOW_S = 1_772_323_200.0
CONFIG = Stream.model_validate(
    {"kind": "sensor", "drift": {"input": {"window": "5s", "reference": 500, "min_events": 300}}}
)


def _batch(first: int, count: int) -> Run:
    rng = Random(first)
    records = []
    for number in range(first, first + count):
        clean = Clean(
            stream="plant",
            kind=Kind.SENSOR,
            source="press/1",
            id=str(number),
            time=datetime.fromtimestamp(NOW_S, UTC) + timedelta(milliseconds=10 * number),
            raw=Coordinates("events.raw", 0, number),
            values={"level": rng.gauss(9.0 if number > 3000 else 0.0, 1.0)},
        )
        records.append(Original("events.clean", 0, number, 0, b"press/1", encode(clean)))
    return Run("events.clean", 0, batch_of(records))


def _run(watch: DriftWatch, state: WatchState, runs: int, first: int = 0) -> list[Any]:
    feed = WatchFeed(watch, "")
    raised: list[Any] = []
    for number in range(first, first + runs):
        now_s, run = NOW_S + number, _batch(number * 20, 20)
        raised += take(watch, feed, now_s, run)
        state.remember(watch, now_s, run)
        take(watch, feed, now_s, None)
        state.remember(watch, now_s, None)
    return raised


def _remembered(watch: DriftWatch, *, exact: bool) -> bytes:
    """Return what a watch knows; not exactly without its quality, which leaves blocks out of snapshots."""
    state = watch.snapshot()
    if not exact:
        state["intake"].pop("quality")
    return msgspec.msgpack.encode(state)


@pytest.mark.parametrize("runs", [1, 40, 128, 200], ids=lambda runs: f"{runs} runs")
def test_a_restored_watch_is_the_one_that_wrote_its_state(runs: int):
    """Before the first snapshot, right at one and after one; then both raise the same alert."""
    maps = (_Map(), _Map())
    watch, state = DriftWatch("plant", CONFIG), WatchState(*maps, "a")
    state.begin(watch)
    _run(watch, state, runs)
    again, later = DriftWatch("plant", CONFIG), WatchState(*maps, "a")
    assert later.restore(again, WatchFeed(again, ""))
    assert _remembered(again, exact=runs < 128) == _remembered(watch, exact=runs < 128)
    coming = _run(watch, WatchState(_Map(), _Map(), "a"), 150, runs), _run(again, later, 150, runs)
    raised, also = ([alert for alert in found if alert.signal is Signal.INPUT] for found in coming)
    assert [alert.id for alert in raised] == [alert.id for alert in also]
    if runs == 128:
        assert raised


def test_runs_are_bounded_by_snapshots():
    """However long it watches, a restart takes few runs again."""
    runs = _Map()
    watch, state = DriftWatch("plant", CONFIG), WatchState(_Map(), runs, "a")
    state.begin(watch)
    for _ in range(3):
        _run(watch, state, 100)
        assert len(runs) < 256


def test_another_configuration_begins_anew():
    """Memory of other windows would not fit; nor are its runs left behind."""
    maps = (_Map(), _Map())
    watch, state = DriftWatch("plant", CONFIG), WatchState(*maps, "a")
    state.begin(watch)
    _run(watch, state, 5)
    fresh, other = DriftWatch("plant", CONFIG), WatchState(*maps, "b")
    assert not other.restore(fresh, WatchFeed(fresh, ""))
    other.begin(fresh)
    assert not maps[1]
    assert WatchState(*maps, "b").restore(DriftWatch("plant", CONFIG), WatchFeed(fresh, ""))
