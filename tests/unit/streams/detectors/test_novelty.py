"""Novelty of one metric: what it finds, how seldom it errs on steady series, and what it keeps."""

import json
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.bench.nab.synthetic import DAY, PLANTED, PLANTED_AT, STEADY, alarms, steady, told
from streams.detectors.novelty import Novelty


@pytest.mark.parametrize("family", PLANTED)
def test_planted_anomalies_are_found(family: str):
    """Of ten series with an anomaly after eleven days, at least nine are found within 300 readings."""
    found = [told(PLANTED[family](np.random.default_rng(2000 + seed))) for seed in range(10)]
    assert len(found) - found.count(None) >= 9


def test_the_aspect_says_what_is_new():
    """A spike is a new value, frozen readings are a new activity, a day without its peak a new shape."""
    for family, aspects in (
        ("spike", {"value"}),
        ("frozen", {"activity", "level"}),
        ("missing_day", {"shape"}),
    ):
        found = told(PLANTED[family](np.random.default_rng(1)))
        assert found is not None and found[1] in aspects


@pytest.mark.parametrize("family", STEADY)
def test_steady_noise_alarms_seldom(family: str):
    """At the default threshold at most 2.5 times in a thousand readings, whatever the distribution."""
    readings = STEADY[family](np.random.default_rng(7))
    assert len(alarms(Novelty(), readings)) <= 50


def test_what_repeats_exactly_never_alarms():
    """A constant, a saw-tooth, and a sine at a large offset, whose rounding differs from day to day."""
    rows = np.arange(6000)
    for readings in (np.full(6000, 3.3), rows % 37 * 0.1, 1e6 + np.sin(2 * np.pi * rows / DAY)):
        assert not [row for row in alarms(Novelty(), readings) if row > 3 * DAY]


def test_what_lasts_is_told_once():
    """A series that jumps and stays is told at the jump, and seldom in the day after."""
    readings = steady(np.random.default_rng(4))
    readings[PLANTED_AT:] += 60
    rows = [row for row in alarms(Novelty(), readings) if PLANTED_AT <= row < PLANTED_AT + DAY]
    assert rows[0] == PLANTED_AT and len(rows) <= 4


def test_what_was_learnt_is_no_longer_new():
    """The same spike every day scores lower from time to time, and is no anomaly in the end."""
    readings = steady(np.random.default_rng(9))
    spikes = np.arange(600, len(readings), 101)
    readings[spikes] += 40 + np.random.default_rng(8).normal(size=len(spikes))
    rows = set(alarms(Novelty(), readings))
    assert spikes[0] in rows
    assert len(rows & set(spikes[8:].tolist())) <= 2


READINGS = st.lists(
    st.one_of(st.floats(-1e300, 1e300), st.integers(-4, 4).map(float)), min_size=1, max_size=400
)


@settings(max_examples=30, deadline=None)
@given(READINGS, st.integers(0, 400))
def test_a_snapshot_changes_nothing(readings, cut):
    """Through JSON and back at any row, all further scores, aspects and the state are the same."""
    first, second = Novelty(window=16, memory=256), Novelty(window=16, memory=256)
    for reading in readings[:cut]:
        first.update(reading)
    second.restore(json.loads(json.dumps(first.snapshot())))
    for reading in readings[cut:]:
        first.update(reading)
        second.update(reading)
        assert (first.score, first.aspect) == (second.score, second.aspect)
        assert 0.0 <= first.score <= 1.0
    assert first.snapshot() == second.snapshot()


def test_a_snapshot_of_a_long_series_is_exact():
    """After the memory is full, with its ring turned, a restored detector goes on the same."""
    readings = np.random.default_rng(2).normal(size=3000).tolist()
    first, second = Novelty(window=16, memory=512), Novelty(window=16, memory=512)
    for reading in readings[:2001]:
        first.update(reading)
    second.restore(json.loads(json.dumps(first.snapshot())))
    for reading in readings[2001:]:
        first.update(reading)
        second.update(reading)
        assert first.score == second.score
    assert first.snapshot() == second.snapshot()


def test_memory_is_bounded():
    """After ten times its memory, a detector holds no more numbers than after twice its memory."""

    def numbers(state: object) -> int:
        if isinstance(state, dict):
            return sum(numbers(part) for part in state.values())
        return sum(numbers(part) for part in state) if isinstance(state, list) else 1

    detector = Novelty(window=16, memory=256)
    readings = np.random.default_rng(6).normal(size=2560)
    sizes = []
    for part in (readings[:512], readings[512:]):
        alarms(detector, part)
        sizes.append(numbers(detector.snapshot()))
    assert abs(sizes[1] - sizes[0]) <= 16  # peaks of the last window: their number differs
    assert sizes[1] < 5 * 2 * 256


@pytest.mark.parametrize("reading", [nan, inf, -inf])
def test_what_is_no_number_is_refused(reading: float):
    """A reading that is not finite raises, and leaves the detector as it was."""
    detector = Novelty()
    detector.update(1.0)
    before = detector.snapshot()
    with pytest.raises(ValueError, match="finite"):
        detector.update(reading)
    assert detector.snapshot() == before


@pytest.mark.parametrize(("window", "memory"), [(8, 8192), (63, 8192), (64, 1000)])
def test_sizes_that_do_not_fit_are_refused(window: int, memory: int):
    """A window is a multiple of 16, and the memory at least 16 windows."""
    with pytest.raises(ValueError, match="has to be"):
        Novelty(window=window, memory=memory)
