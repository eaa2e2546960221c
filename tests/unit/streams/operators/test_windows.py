"""Event-time windows: every value in exactly the right ones, late ones by policy, bounded, restorable."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.operators.count_windows import CountWindows
from streams.operators.watermark import Watermark
from streams.operators.windows import EventWindows, Values, Windowing

CUTS = st.sampled_from(
    [Windowing(10.0), Windowing(10.0, 5.0), Windowing(10.0, 3.0), Windowing(0.1), Windowing(0.7, 0.1)]
)
TIMES = st.lists(st.integers(-100, 1000).map(lambda tenths: tenths / 10), max_size=60)
KEYED = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 600).map(lambda tenths: tenths / 10)), max_size=60
)


def windows_of(windowing: Windowing) -> EventWindows[Values]:
    """Make windows of plain values."""
    return EventWindows(windowing, Values)


def fired(windows: EventWindows[Values], watermark: float = 1e9) -> dict[tuple[str, float, float], list[Any]]:
    """Advance, and return what fires by key and span."""
    return {(f.key, f.start_s, f.end_s): f.pane.values for f in windows.advance(watermark)}


@given(CUTS, TIMES)
def test_every_event_is_in_exactly_the_windows_that_cover_it(windowing, times):
    """By definition: [start, start + size), a start every step from 1970 on; none missing, none too many."""
    windows = windows_of(windowing)
    for number, time in enumerate(times):
        assert windows.add("k", time, number)
    found = fired(windows)
    step, size = windowing.step_us, windowing.size_us
    expected: dict[tuple[str, float, float], list[int]] = {}
    for number, time in enumerate(times):
        micro = round(time * 1e6)
        for start in range(-(-(micro - size + 1) // step) * step, micro + 1, step):
            assert start <= micro < start + size
            expected.setdefault(("k", start / 1e6, (start + size) / 1e6), []).append(number)
    assert found == expected


@given(st.data(), CUTS, KEYED, st.integers(0, 20))
def test_any_order_within_the_disorder_gives_the_same_windows(data, windowing, events, disorder):
    """Shuffled by no more than the watermark allows, every window holds the same and nothing is late."""
    numbered = [(key, time, number) for number, (key, time) in enumerate(events)]
    in_order = sorted(numbered, key=lambda event: event[1])
    delays = data.draw(st.lists(st.integers(0, disorder), min_size=len(events), max_size=len(events)))
    shuffled = [
        event for _, event in sorted(zip(delays, in_order, strict=True), key=lambda p: p[1][1] + p[0])
    ]
    results = []
    for order in (in_order, shuffled):
        windows, watermark, found = windows_of(windowing), Watermark(disorder), {}
        for key, time, number in order:
            assert windows.add(key, time, number)
            for span, values in fired(windows, watermark.update(0, time, 0.0)).items():
                assert span not in found
                found[span] = sorted(values)
        found |= {span: sorted(values) for span, values in fired(windows).items()}
        assert windows.counters["late"] == 0
        results.append(found)
    assert results[0] == results[1]


@given(
    st.sampled_from(
        [
            Windowing(10.0, 5.0),
            Windowing(10.0, late="update", lateness_s=7.0),
            Windowing(10.0, late="side", max_late=3),
            Windowing(10.0, 5.0, max_open=4),
        ]
    ),
    KEYED,
    st.integers(0, 60),
)
def test_a_snapshot_changes_nothing(windowing, events, cut):
    """Restored from JSON at any point, the windows go on as the uninterrupted ones."""
    straight, interrupted = windows_of(windowing), windows_of(windowing)
    newest = 0.0
    for at, (key, time) in enumerate(events):
        if at == cut:
            kept = msgspec.json.encode(interrupted.snapshot())
            interrupted = windows_of(windowing)
            interrupted.restore(msgspec.json.decode(kept))
        newest = max(newest, time)
        assert straight.add(key, time, at) == interrupted.add(key, time, at)
        first, second = (
            [(*f[:3], f.pane.values, f.revision) for f in windows.advance(newest - 2.0)]
            for windows in (straight, interrupted)
        )
        assert first == second
        assert straight.counters == interrupted.counters
        assert len(straight) <= windowing.max_open
    assert straight.take_late() == interrupted.take_late()


def test_late_values_are_dropped_and_counted():
    """A closed window is as it was; with sliding windows, those still open take the value."""
    windows = windows_of(Windowing(10.0))
    windows.add("k", 1.0, "a")
    assert fired(windows, 10.0) == {("k", 0.0, 10.0): ["a"]}
    assert not windows.add("k", 9.9, "late")
    assert fired(windows, 30.0) == {}
    assert windows.counters["late"] == 1
    sliding = windows_of(Windowing(10.0, 5.0))
    sliding.advance(10.0)
    assert sliding.add("k", 9.0, "late for one")
    assert fired(sliding) == {("k", 5.0, 15.0): ["late for one"]}
    assert sliding.counters["late"] == 0


def test_late_values_update_a_window_while_it_is_kept():
    """Within the allowed lateness the window fires again with all it holds, numbered; then it is gone."""
    windows = windows_of(Windowing(10.0, late="update", lateness_s=5.0))
    windows.add("k", 1.0, "a")
    assert [f.revision for f in windows.advance(10.0)] == [0]
    assert windows.add("k", 2.0, "b")
    ((key, start, end, pane, revision),) = windows.advance(11.0)
    assert (key, start, end, pane.values, revision) == ("k", 0.0, 10.0, ["a", "b"], 1)
    assert windows.add("k", 12.0, "next")
    assert fired(windows, 15.0) == {}
    assert not windows.add("k", 3.0, "too late")
    assert len(windows) == 1


def test_a_window_of_late_values_alone_fires_once_they_came():
    """A window that had nothing when the watermark passed still fires for values within the lateness."""
    windows = windows_of(Windowing(10.0, late="update", lateness_s=5.0))
    windows.advance(12.0)
    assert windows.add("k", 9.0, "late")
    assert fired(windows, 12.0) == {("k", 0.0, 10.0): ["late"]}


def test_late_values_go_to_the_side_within_bounds():
    """With a side output every late value is handed out once, in order; what has no room is counted."""
    windows = windows_of(Windowing(10.0, late="side", max_late=2))
    windows.advance(20.0)
    assert not any(windows.add("k", float(time), time) for time in (3, 1, 2))
    assert [late.value for late in windows.take_late()] == [3, 1]
    assert windows.take_late() == []
    assert windows.counters == {"late": 3, "overflowed": 1}


def test_open_windows_are_bounded_and_the_nearest_are_kept():
    """With all places taken, an earlier window takes that of the furthest one; a later one is refused."""
    windows = windows_of(Windowing(10.0, max_open=2))
    assert windows.add("k", 95.0, "far")
    assert windows.add("k", 25.0, "near")
    assert not windows.add("k", 195.0, "furthest")
    assert windows.add("k", 5.0, "nearest")
    assert fired(windows) == {("k", 0.0, 10.0): ["nearest"], ("k", 20.0, 30.0): ["near"]}
    assert windows.counters == {"refused": 1, "displaced": 1}


@pytest.mark.parametrize(
    "wrong",
    [
        {"size_s": 0.0},
        {"size_s": float("inf")},
        {"size_s": 1.0, "every_s": 2.0},
        {"size_s": 10.0, "every_s": 0.001},
        {"size_s": 1.0, "lateness_s": 1.0},
    ],
)
def test_a_wrong_cut_is_refused(wrong):
    """No windows, gaps, thousands over every moment, and a lateness that no policy uses are errors."""
    with pytest.raises(ValueError, match=r"size_s|cover|lateness_s"):
        Windowing(**wrong)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz"), st.integers(0, 9)), max_size=60),
    st.integers(1, 5),
    st.integers(0, 60),
)
def test_count_windows_hold_the_last_of_each_name(readings, size, cut):
    """Against plain lists, restored half-way: the last readings of a name of a key, oldest first."""
    windows = CountWindows(size)
    seen: dict[tuple[str, str], list[float]] = {}
    for at, (key, name, value) in enumerate(readings):
        if at == cut:
            kept = msgspec.msgpack.decode(msgspec.msgpack.encode(windows.snapshot()))
            windows = CountWindows(size)
            windows.restore(kept)
        seen.setdefault((key, name), []).append(float(value))
        assert windows.add(key, {name: float(value)}) == {name: tuple(seen[key, name][-size:])}


def test_count_windows_are_bounded():
    """The key unseen longest is forgotten; names beyond the limit have no window."""
    windows = CountWindows(3, max_keys=2, max_names=1)
    for key in ("a", "b", "a", "c"):
        windows.add(key, {"x": 1.0})
    assert len(windows) == 2
    assert windows.add("a", {"x": 2.0, "y": 3.0}) == {"x": (1.0, 1.0, 2.0)}
    assert windows.add("b", {"x": 5.0}) == {"x": (5.0,)}
