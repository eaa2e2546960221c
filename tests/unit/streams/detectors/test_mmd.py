"""The multivariate detector: false alarms as rare as asked for, changes that no feature shows alone."""

import json

import numpy as np
import pytest

from streams.detectors.mmd import Mmd
from streams.detectors.mmd_window import MmdWindow
from streams.detectors.psi import Psi
from streams.detectors.reference import Reference, Window


def test_without_a_change_it_runs_as_long_as_expected():
    """Over 30 references and 60,000 steady vectors the mean run time is within 5 % of the expected 50."""
    means = []
    for seed in range(30):
        rng = np.random.default_rng(1_000 + seed)
        detector = Mmd(
            rng.normal(size=(1_000, 10)), expected_run_time=50, window=5, bootstraps=3_000, seed=seed
        )
        runs, run = [], 0
        for vector in rng.normal(size=(2_000, 10)):
            detector.update(vector)
            run += 1
            if detector.drift_detected:
                runs.append(run - 4)  # the first four vectors make no window
                run = 0
        means.append(np.mean(runs))
    assert np.mean(means) == pytest.approx(50, rel=0.05)


def test_a_shift_is_found_within_six_vectors():
    """At an expected run time of 50, one standard deviation in every feature shows in the first window."""
    delays = []
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        detector = Mmd(
            rng.normal(size=(1_000, 10)), expected_run_time=50, window=5, bootstraps=2_000, seed=seed
        )
        delay = 0
        while not detector.drift_detected:
            detector.update(rng.normal(size=10) + 1.0)
            delay += 1
        delays.append(delay)
    assert np.mean(delays) <= 6


def test_a_change_that_no_feature_shows_alone_is_found():
    """Two features that begin to move against each other keep their distributions, and their PSI."""
    rng = np.random.default_rng(5)
    covariance = np.array([[1.0, 0.95], [0.95, 1.0]])
    reference = rng.multivariate_normal([0, 0], covariance, size=2_000)
    changed = rng.multivariate_normal([0, 0], covariance * [[1, -1], [-1, 1]], size=2_000)
    psi = Psi(Reference(["a", "b"], reference), (), threshold=0.1)
    psi.update(Window(psi.reference, changed))
    assert psi.moved == []
    whole = MmdWindow(reference)
    whole.update(changed[:500])
    assert whole.drift_detected
    detector = Mmd(reference, expected_run_time=10_000, window=20, bootstraps=2_000)
    for vector in rng.multivariate_normal([0, 0], covariance, size=400):
        detector.update(vector)
        assert not detector.drift_detected
    delay = 0
    while not detector.drift_detected and delay < 200:
        detector.update(changed[delay])
        delay += 1
    assert delay <= 60


def test_a_restart_changes_nothing():
    """Through JSON and back in the middle, the same alarms come at the same vectors."""
    rng = np.random.default_rng(8)
    detector = Mmd(rng.normal(size=(300, 3)), expected_run_time=60, window=6, bootstraps=1_000)
    stream = rng.normal(size=(400, 3))
    for vector in stream[:150]:
        detector.update(vector)
    copy = Mmd.restored(json.loads(json.dumps(detector.snapshot())))
    alarms = []
    for number, vector in enumerate(stream[150:]):
        detector.update(vector)
        copy.update(vector)
        assert copy.drift_detected == detector.drift_detected
        assert copy.statistic == pytest.approx(detector.statistic, rel=1e-9, abs=1e-12)
        if detector.drift_detected:
            alarms.append(number)
    assert alarms


def test_a_reference_must_be_large_enough():
    """Four windows at least; constant features are no harm."""
    with pytest.raises(ValueError, match="needs 40"):
        Mmd(np.zeros((39, 2)), window=10)
    detector = Mmd(np.ones((50, 2)), window=10, bootstraps=100)
    for _ in range(30):
        detector.update(np.ones(2))
    assert not detector.drift_detected


@pytest.mark.parametrize("dimensions", [2, 64])
def test_windows_pass_as_often_as_chance_says(dimensions):
    """One steady window in a hundred is taken for a shift where one in a hundred may."""
    alarms = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        detector = MmdWindow(rng.normal(size=(2_000, dimensions)), alpha=0.01, seed=seed)
        for _ in range(150):
            detector.update(rng.normal(size=(rng.integers(50, 400), dimensions)))
            alarms += detector.drift_detected
    assert 1 <= alarms <= 16


def test_windows_through_json_and_back():
    """A restored detector measures the same; what is missing is taken to be as usual."""
    rng = np.random.default_rng(3)
    reference = rng.normal(size=(500, 4))
    reference[::7, 2] = np.nan
    detector = MmdWindow(reference)
    again = MmdWindow.restored(json.loads(json.dumps(detector.snapshot())))
    window = rng.normal(size=(300, 4))
    window[::5, 1] = np.nan
    for one in (detector, again):
        one.update(window)
    assert (detector.statistic, detector.threshold) == (again.statistic, again.threshold)
    assert not detector.drift_detected
