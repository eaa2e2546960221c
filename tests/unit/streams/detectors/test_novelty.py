"""Novelty of one metric: what it finds, how seldom it errs on steady series, and what it keeps."""

import json
from collections.abc import Callable
from math import inf, nan

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.detectors.novelty import Novelty

DAY = 288
AT = 11 * DAY
Random = np.random.Generator
Readings = npt.NDArray[np.float64]


def alarms(detector: Novelty, readings: Readings) -> list[int]:
    """Return the rows at which the detector tells an anomaly."""
    found = []
    for row, reading in enumerate(readings.tolist()):
        detector.update(reading)
        if detector.anomaly_detected:
            found.append(row)
    return found


def steady(random: Random) -> Readings:
    """Normal readings."""
    return random.normal(100, 3, AT + 400)


def daily(random: Random) -> Readings:
    """A hump every day, of 288 readings."""
    rows = np.arange(AT + 400)
    humps: Readings = 20 * np.maximum(0, np.sin(2 * np.pi * rows / DAY))
    return 50 + humps + random.normal(0, 1, AT + 400)


def spike(random: Random) -> Readings:
    """One reading far above."""
    readings = steady(random)
    readings[AT] += 40
    return readings


def shift(random: Random) -> Readings:
    """Less than two standard deviations more from here on."""
    readings = steady(random)
    readings[AT:] += 5
    return readings


def slope(random: Random) -> Readings:
    """A slow rise."""
    readings = steady(random)
    readings[AT:] += 0.15 * np.arange(400)
    return readings


def noisier(random: Random) -> Readings:
    """Three times the noise."""
    readings = steady(random)
    readings[AT:] = random.normal(100, 9, 400)
    return readings


def frozen(random: Random) -> Readings:
    """The same reading again and again."""
    readings = steady(random)
    readings[AT:] = readings[AT]
    return readings


def bursts(random: Random) -> Readings:
    """Bursts that come by chance come often."""
    readings = steady(random)
    readings[random.random(AT + 400) < 0.01] += 30
    readings[AT : AT + 64][random.random(64) < 0.25] += 30
    return readings


def between(random: Random) -> Readings:
    """Readings between two levels, where there never were any."""
    readings = np.where(np.arange(AT + 400) // 100 % 2, 80.0, 20.0) + random.normal(0, 1, AT + 400)
    readings[AT : AT + 10] = 50.0
    return readings


def outage(random: Random) -> Readings:
    """Counts of nothing."""
    readings = random.poisson(40, AT + 400).astype(float)
    readings[AT : AT + 20] = 0.0
    return readings


def missing_day(random: Random) -> Readings:
    """The hump does not come."""
    readings = daily(random)
    readings[AT : AT + DAY] = 50 + random.normal(0, 1, DAY)
    return readings


PLANTED = (spike, shift, slope, noisier, frozen, bursts, between, outage, missing_day)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_planted_anomalies_are_found(plant: Callable[[Random], Readings]):
    """Of ten series with an anomaly at row 3,168, at least nine are found within 200 readings of it."""
    found = 0
    for seed in range(10):
        rows = alarms(Novelty(), plant(np.random.default_rng(2000 + seed)))
        found += any(AT <= row < AT + 200 for row in rows)
    assert found >= 9


def test_the_aspect_says_what_is_new():
    """A spike is a new value, frozen readings are a new activity, a day without its peak a new shape."""
    for plant, aspects in (
        (spike, {"value"}),
        (frozen, {"activity", "level"}),
        (missing_day, {"shape"}),
    ):
        detector = Novelty()
        for row, reading in enumerate(plant(np.random.default_rng(1)).tolist()):
            detector.update(reading)
            if row >= AT and detector.anomaly_detected:
                break
        assert detector.aspect in aspects


STEADY: dict[str, Callable[[Random], Readings]] = {
    "normal": lambda random: random.normal(size=20_000),
    "uniform": lambda random: random.random(20_000),
    "poisson": lambda random: random.poisson(2, 20_000).astype(float),
    "lognormal": lambda random: random.lognormal(size=20_000),
    "exponential": lambda random: random.exponential(size=20_000),
    "t3": lambda random: random.standard_t(3, 20_000),
    "seasonal": lambda random: np.sin(np.arange(20_000) / 46) * 10 + random.normal(size=20_000),
}


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
    readings[AT:] += 60
    told = [row for row in alarms(Novelty(), readings) if AT <= row < AT + DAY]
    assert told[0] == AT and len(told) <= 4


def test_what_was_learnt_is_no_longer_new():
    """The same spike every day scores lower from time to time, and is no anomaly in the end."""
    readings = steady(np.random.default_rng(9))
    spikes = np.arange(600, len(readings), 101)
    readings[spikes] += 40 + np.random.default_rng(8).normal(size=len(spikes))
    told = set(alarms(Novelty(), readings))
    assert spikes[0] in told
    assert len(told & set(spikes[8:].tolist())) <= 2


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
