"""The default detector: what its native code computes, how rarely it errs, and what it makes of learning."""

from math import exp, log, pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.detectors.ensemble import Ensemble


def stream(seed: int, *parts: tuple[int, float]) -> bytes:
    """Return error bits, one a byte: for each part a count and a rate."""
    random = np.random.default_rng(seed)
    return b"".join((random.random(count) < rate).tobytes() for count, rate in parts)


def alarms(detector: Ensemble, errors: bytes) -> list[int]:
    """Return the positions at which the detector fired."""
    found, at = [], -1
    while (fired := detector.update_many(errors[at + 1 :])) is not None:
        at += fired + 1
        found.append(at)
    return found


def log_ratio(n0: int, s0: int, n1: int, s1: int) -> float:
    """Return the generalised log-likelihood ratio of two rates to one."""

    def fit(s: int, n: int, p: float) -> float:
        return (s * log(p) if s else 0.0) + ((n - s) * log(1.0 - p) if n > s else 0.0)

    pooled = (s0 + s1) / (n0 + n1)
    return fit(s0, n0, s0 / n0) + fit(s1, n1, s1 / n1) - fit(s0 + s1, n0 + n1, pooled)


def mixed(n0: int, s0: int, n1: int, s1: int) -> float:
    """Return the weight of the mixture over the rise."""
    a0, b0, a1, b1 = s0 + 0.5, n0 - s0 + 0.5, s1 + 0.5, n1 - s1 + 0.5
    rise = log(a1 * b0 / (a0 * b1))
    if rise < log(1.15):
        return 0.0
    return sqrt(2.0 * pi * (1 / a0 + 1 / b0 + 1 / a1 + 1 / b1)) * rise * max(exp(-rise * rise / 2.0), 0.03)


def plain(errors: bytes, threshold: float) -> list[int]:
    """Return where the detector has to fire: its docstring's maths, read plainly, without its short cuts."""
    found: list[int] = []
    buckets: list[tuple[int, int]] = []  # width and errors, oldest first
    unsettled = False
    for position, error in enumerate(errors):
        if found and found[-1] == position - 1:
            buckets, unsettled = [], True
        buckets.append((1, error))
        width = 1
        while len(same := [i for i, b in enumerate(buckets) if b[0] == width]) > 8:
            first, second = buckets[same[0]], buckets[same[1]]
            buckets[same[0] : same[0] + 2] = [(2 * width, first[1] + second[1])]
            width *= 2
        n, s = (sum(b[i] for b in buckets) for i in (0, 1))
        unsettled = unsettled and n < 5_000
        evidence, best, cut_at, n0, s0 = 0.0, threshold - 1.0, 0, 0, 0
        for cut in range(1, len(buckets)):
            n0, s0 = n0 + buckets[cut - 1][0], s0 + buckets[cut - 1][1]
            n1, s1 = n - n0, s - s0
            ratio = log_ratio(n0, s0, n1, s1)
            if s1 * n0 > s0 * n1 and ratio >= threshold - 7.0:
                evidence += buckets[cut][0] * mixed(n0, s0, n1, s1) * exp(ratio)
            elif s1 * n0 < s0 * n1 and ratio > best:
                best, cut_at = ratio, cut
        factor = exp(3.0) if unsettled else sqrt(min(1.0, max(n, 500) / 10_000.0))
        if error and evidence >= exp(threshold) * factor:
            found.append(position)
        elif n % 16 == 0:
            del buckets[:cut_at]
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_native_code_computes_the_maths(seed: int) -> None:
    """Rises and falls of several sizes, too: native and plain reading fire at the same labels."""
    errors = stream(seed, (150, 0.5), (300, 0.1), (200, 0.35), (150, 0.9), (200, 0.3), (150, 0.8))
    expected = plain(errors, log(4000 / 0.1))
    assert len(expected) >= 2
    assert alarms(Ensemble(0.1), errors) == expected


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3, 0.5])
def test_a_million_steady_labels_raise_at_most_one_alarm(rate: float) -> None:
    """A steady error rate is no drift, low or high."""
    assert len(alarms(Ensemble(), stream(3, (1_000_000, rate)))) <= 1


@pytest.mark.parametrize(("steady", "mean"), [(1_000, 108), (10_000, 108)])
def test_a_rise_from_15_to_35_percent_is_found_within_a_hundred_labels(steady: int, mean: float) -> None:
    """Mean delay over 300 seeds; the 95th percentile is below 204."""
    delays = []
    for seed in range(300):
        found = alarms(Ensemble(), stream(seed, (steady, 0.15), (1_000, 0.35)))
        delays += [at - steady for at in found if at >= steady][:1]
    assert len(delays) == 300
    assert np.mean(delays) <= mean
    assert np.percentile(delays, 95) <= 204


def test_small_and_gradual_rises_are_found_too() -> None:
    """10 % to 15 % at once, and to 30 % over 5,000 labels: found in all of 20 seeds."""
    for seed in range(20):
        small = alarms(Ensemble(), stream(seed, (10_000, 0.1), (6_000, 0.15)))
        ramp = [(500, 0.1 + 0.02 * step) for step in range(1, 11)]
        gradual = alarms(Ensemble(), stream(seed, (10_000, 0.1), *ramp))
        assert small and gradual
        assert small[0] >= 10_000 and gradual[0] >= 10_000


def test_a_model_that_learns_is_compared_with_what_it_has_reached() -> None:
    """An error that falls from 50 % to 10 % is no alarm, and soon after a rise to 30 % is found."""
    delays = []
    for seed in range(30):
        falling = [(50, 0.1 + 0.4 * 0.6**step) for step in range(12)]
        found = alarms(Ensemble(), stream(seed, *falling, (600, 0.1), (1_000, 0.3)))
        assert found and found[0] >= 1_200
        delays.append(found[0] - 1_200)
    assert np.mean(delays) <= 120


def test_a_fall_is_forgotten_silently() -> None:
    """What was before a fall no longer counts in the rate that labels are compared with."""
    detector = Ensemble()
    assert alarms(detector, stream(1, (2_000, 0.5), (400, 0.05))) == []
    assert detector.width < 450
    assert detector.rate < 0.1


@given(seed=st.integers(0, 2**16), size=st.integers(1, 700))
@settings(max_examples=20, deadline=None)
def test_batches_find_what_single_labels_find(seed: int, size: int) -> None:
    """However labels are cut into batches, and whatever sequence they come as, alarms are the same."""
    errors = stream(seed, (600, 0.05), (400, 0.5))
    expected = alarms(Ensemble(), errors)
    one, many = Ensemble(), Ensemble()
    single = []
    for position, error in enumerate(errors):
        one.update(bool(error))
        single += [position] if one.drift_detected else []
    batched, at = [], 0
    while at < len(errors):
        fired = many.update_many([bool(error) for error in errors[at : at + size]])
        at += size if fired is None else fired + 1
        batched += [] if fired is None else [at - 1]
    assert single == batched == expected
    assert one.snapshot() == many.snapshot()


@pytest.mark.parametrize("levels", [[], [[2]], [[0] * 9], [[]] * 60])
def test_a_snapshot_that_is_none_is_refused(levels: list[list[int]]) -> None:
    """Levels that no stream leads to are not gone on with."""
    with pytest.raises(ValueError, match="not the levels of a snapshot"):
        Ensemble().restore({"levels": levels, "detected": False, "unsettled": False})


def test_memory_is_logarithmic() -> None:
    """A million labels are some 140 numbers."""
    detector = Ensemble()
    alarms(detector, stream(5, (1_000_000, 0.1)))
    assert sum(map(len, detector.snapshot()["levels"])) <= 8 * 20
