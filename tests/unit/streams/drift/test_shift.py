"""The windows of the drift watch: late events, backward clocks, partitions at different paces, gaps."""

from itertools import chain, repeat
from random import Random

import msgspec
import numpy as np
import pytest

from schemas.config import ShiftDrift
from streams.drift.compare import Features
from streams.drift.rows import Row, Thinned
from streams.drift.shift import Floats, Shift, ShiftWatch

START = 1_773_480_000.0
RATE = 100.0


class Readings:
    """Feeds one feature to a watch: normal readings, `RATE` a second of event time."""

    def __init__(self, *, hysteresis: int = 1) -> None:
        config = ShiftDrift.model_validate(
            {"window": "5s", "lateness": "1s", "reference": 1000, "min_events": 300}
        )
        self.watch = ShiftWatch(config, hysteresis, lambda: Features(["x"]))
        self._random = Random(3)
        self.number = 0
        self.found: list[Shift] = []

    def feed(
        self, count: int, *, mean: float = 0.0, behind_s: float = 0.0, partition: int = 0
    ) -> list[Shift]:
        """Feed the next readings; returns the shifts that they completed."""
        before = len(self.found)
        for _ in range(count):
            now_s = START + self.number / RATE
            self.event(now_s - behind_s, now_s, mean, partition)
            self.number += 1
        return self.found[before:]

    def event(self, time: float, now_s: float, mean: float, partition: int) -> None:
        """Feed one reading."""
        place = ("events.clean", partition, self.number, "s", str(self.number))
        row = Row(time, [self._random.gauss(mean, 1.0)], place)
        shift = self.watch.update(np.array([time]), np.array([partition]), now_s, lambda _: row)
        self.found += [shift] if shift is not None else []


def test_windows_are_compared_one_after_the_other():
    """A window of five seconds is compared a second of event time after its end; a shift is found in it."""
    readings = Readings()
    assert readings.feed(5000) == []
    assert readings.watch.windows >= 6
    (shift, *_) = readings.feed(1200, mean=3.0)
    assert shift.window_to - shift.window_from < 5.0
    assert shift.since >= START + 45.0


def test_late_events_do_not_distort_a_closed_window():
    """Shifted readings that come after their windows closed are counted, and raise nothing."""
    readings = Readings()
    readings.feed(5000)
    for _ in range(10):
        assert readings.feed(30, mean=5.0, behind_s=20.0) == []
        assert readings.feed(500) == []
    assert readings.watch.late == 300
    assert readings.watch.nearest()[1] < 0.1


def test_events_within_the_lateness_are_in_their_window():
    """Out of order by less than a second: nothing is late, no window is short."""
    readings, random = Readings(), Random(4)
    for number in range(6000):
        now_s = START + number / RATE
        readings.event(now_s - random.random() * 0.9, now_s, 0.0, 0)
    assert readings.found == []
    assert readings.watch.late == 0
    assert 470 <= readings.watch.observations <= 530


def test_partitions_at_different_paces_share_their_windows():
    """While a backlog is read, a partition ten seconds ahead waits for the other; nothing is late."""
    readings = Readings()
    for _ in range(20):
        readings.feed(50, partition=0)
        readings.feed(50, partition=1)
    now_s = START + 20.0
    for second in range(20, 60, 10):
        for partition in (0, 1):
            for step in range(1000):
                readings.event(START + second + step / RATE, now_s, 0.0, partition)
    assert readings.watch.late == 0
    assert readings.watch.observations == 1000
    assert readings.found == []


def test_a_partition_far_behind_holds_nothing_up():
    """A source an hour behind does not blind the watch: its events are late, the others are compared."""
    readings = Readings()
    readings.feed(2000)
    for _ in range(10):
        readings.feed(20, behind_s=3600.0, partition=1)
        readings.feed(200)
    assert readings.feed(1500, mean=3.0)
    assert readings.watch.late >= 200


def test_event_time_that_went_back_begins_anew():
    """When a history is published after live events, its drift is found too."""
    readings = Readings()
    readings.feed(3000)
    readings.feed(3000, behind_s=86_400.0)
    late = readings.watch.late
    assert 64 <= late <= 700
    assert readings.feed(2000, mean=3.0, behind_s=86_400.0)
    assert readings.watch.late == late


def test_a_window_with_too_few_events_goes_on():
    """One event a second: windows are joined until they hold enough."""
    readings = Readings()
    readings.feed(2000)
    for second in range(640):
        readings.event(START + 20.0 + second, START + 20.0 + second, 0.0, 0)
        if second == 20:
            windows = readings.watch.windows
    assert readings.watch.windows - windows == 2
    assert 300 <= readings.watch.observations <= 305


def test_a_gap_closes_what_was_open():
    """After an hour of silence, eight events are enough to compare the window before it."""
    readings = Readings()
    readings.feed(2000, mean=0.0)
    windows = readings.watch.windows
    readings.number += 3600 * int(RATE)
    readings.feed(8)
    assert readings.watch.windows > windows


def fed(watch: ShiftWatch, times: Floats, sizes: tuple[int, ...]) -> set[float]:
    """Feed readings that shift after 30 s, cut into these sizes, the last again; returns since when."""
    random = Random(3)
    values = [random.gauss(3.0 if time >= START + 30.0 else 0.0, 1.0) for time in times]
    found: list[Shift | None] = []
    start = 0
    for size in chain(sizes, repeat(sizes[-1])):
        part = times[start : start + size]
        if part.size == 0:
            return {shift.since for shift in found if shift is not None}

        def row(index: int, start: int = start) -> Row:
            number = start + index
            return Row(times[number], [values[number]], ("events.clean", 0, number, "s", str(number)))

        found.append(watch.update(part, np.zeros(part.size, np.int64), part[-1], row))
        start += size
    raise AssertionError


@pytest.mark.parametrize("sizes", [(1,), (50,), (500,), (1024,), (9000,), (600, 9000), (976, 1024, 500)])
def test_since_when_does_not_depend_on_how_events_are_cut(sizes: tuple[int, ...]) -> None:
    """One by one or a backlog at once: the shift begins with the window of its first event."""
    watch = Readings(hysteresis=2).watch
    assert fed(watch, START + np.arange(9000) / RATE, sizes) == {START + 30.0}


@pytest.mark.parametrize("sizes", [(1,), (500,), (1024,), (9000,)])
def test_other_windows_begin_where_event_time_is(sizes: tuple[int, ...]) -> None:
    """After a change of settings a backlog at once tells the same as events one by one."""
    readings = Readings(hysteresis=2)
    readings.feed(2000)
    config = {"window": "4s", "lateness": "1s", "reference": 1000, "min_events": 300}
    readings.watch.take(ShiftDrift.model_validate(config), 2)
    assert fed(readings.watch, START + np.arange(2000, 9000) / RATE, sizes) == {START + 28.0}


@pytest.mark.parametrize("cut", [500, 1500, 3333])
def test_a_snapshot_changes_nothing(cut):
    """Restored while collecting, within a window, or after a shift: the same shifts, and the same counts."""
    straight, interrupted = Readings(), Readings()
    for readings in (straight, interrupted):
        readings.feed(cut)
        if readings is interrupted:
            kept = msgspec.msgpack.decode(msgspec.msgpack.encode(readings.watch.snapshot()))
            readings.watch = Readings().watch
            readings.watch.restore(kept)
        readings.feed(2000, behind_s=0.5)
        readings.feed(1000, mean=3.0)
    assert straight.found
    assert straight.found == interrupted.found
    assert straight.watch.snapshot() == interrupted.watch.snapshot()


def test_a_sample_is_even_and_bounded():
    """Of 100,000 rows at most twice the capacity are kept, from all over, and a restored sample goes on."""
    sample = Thinned(100)
    for number in range(100_000):
        sample.add(Row(float(number), [], ("t", 0, number, "s", "i")))
        if number == 50_000:
            again = Thinned(100)
            again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(sample.snapshot())))
            sample = again
    assert 100 <= len(sample.rows) < 200
    steps = {b.time - a.time for a, b in zip(sample.rows, sample.rows[1:], strict=False)}
    assert len(steps) == 1
    assert sample.seen == 100_000
