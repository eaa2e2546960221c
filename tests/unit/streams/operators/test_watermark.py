"""Watermarks: monotone, the least of the partitions that are not idle, moved by agreement alone."""

from math import inf

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.operators.watermark import Watermark

EVENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 1000), st.integers(0, 5)), max_size=60
)  # partition, time, seconds passed since the event before


@given(EVENTS, st.integers(0, 50), st.integers(1, 8))
def test_it_never_goes_back_and_promises_the_disorder(events, disorder, agreeing):
    """Whatever comes: monotone, and never beyond the newest time less the disorder."""
    watermark, now, before, newest = Watermark(disorder, 10.0, agreeing=agreeing), 0, -inf, -inf
    for partition, time, passed in events:
        now, newest = now + passed, max(newest, time)
        value = watermark.update(partition, time, now)
        assert before <= value <= newest - disorder
        before = value


@given(EVENTS, st.integers(0, 50))
def test_it_is_the_least_of_the_busy_partitions(events, disorder):
    """Against a plain computation over all that was seen; idle partitions are left out."""
    watermark, now, expected = Watermark(disorder, 10.0), 0, -inf
    fronts: dict[int, tuple[float, int]] = {}
    for partition, time, passed in events:
        now += passed
        fronts[partition] = (max(fronts.get(partition, (-inf, 0))[0], time), now)
        busy = [front for front, last in fronts.values() if now - last <= 10]
        expected = max(expected, min(busy) - disorder)
        assert watermark.update(partition, time, now) == expected


@given(EVENTS, st.integers(0, 60), st.integers(1, 8))
def test_a_snapshot_changes_nothing(events, cut, agreeing):
    """Restored from JSON at any point, it goes on as the uninterrupted one."""
    straight = Watermark(3.0, 10.0, agreeing=agreeing)
    interrupted = Watermark(3.0, 10.0, agreeing=agreeing)
    now = 0
    for at, (partition, time, passed) in enumerate(events):
        now += passed
        if at == cut:
            kept = msgspec.json.encode(interrupted.snapshot())
            interrupted = Watermark(3.0, 10.0, agreeing=agreeing)
            interrupted.restore(msgspec.json.decode(kept))
        assert straight.update(partition, time, now) == interrupted.update(partition, time, now)


def test_an_idle_partition_holds_nothing_back():
    """A silent partition is left out after the timeout, by time alone; back again, it counts."""
    watermark = Watermark(1.0, 30.0)
    watermark.update(0, 100.0, now_s=0.0)
    assert watermark.update(1, 500.0, now_s=20.0) == 99.0
    assert watermark.advance(30.0) == 99.0
    assert watermark.advance(31.0) == 499.0
    assert watermark.update(0, 501.0, now_s=40.0) == 499.0
    assert watermark.update(1, 700.0, now_s=40.0) == 500.0
    assert watermark.advance(1000.0) == 500.0


def test_an_expected_partition_is_waited_for():
    """A partition that is to be read holds the watermark until its first event, or until it is idle."""
    watermark = Watermark(0.0, 10.0)
    watermark.expect(1, now_s=0.0)
    assert watermark.update(0, 100.0, now_s=5.0) == -inf
    assert watermark.update(1, 90.0, now_s=6.0) == 90.0
    watermark.forget(1)
    assert watermark.advance(6.0) == 100.0


def test_few_wrong_clocks_move_nothing():
    """Two events in a hundred a day ahead leave the watermark within a dozen events of the true time."""
    watermark = Watermark(0.0, agreeing=8)
    for time in range(2000):
        ahead = 86_400 if time % 50 == 49 else 0
        value = watermark.update(time % 3 if not ahead else 1, time + ahead, time)
        assert time < 12 or time - 12 <= value <= time
