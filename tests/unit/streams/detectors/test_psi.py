"""The PSI of many features: quiet on steady windows, awake on moved ones, the same after a restart."""

import json

import numpy as np
import pytest

from streams.detectors.distance import QUANTILES, kolmogorov_smirnov, wasserstein
from streams.detectors.psi import Psi, noise_bound, psi


def test_steady_inputs_of_128_features_never_alert() -> None:
    """200 steady windows of 300 events with 128 features of many shapes raise nothing."""
    random = np.random.default_rng(11)

    def window(n: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
        normal = random.normal(size=(n, 50))
        heavy = random.standard_cauchy(size=(n, 28))
        counts = random.poisson(0.3, size=(n, 30)).astype(float)
        constant = np.full((n, 20), 7.0)
        return np.hstack([normal, heavy, counts, constant])

    detector = Psi([f"f{i}" for i in range(128)], window(2000), threshold=0.25)
    for _ in range(200):
        detector.update(window(300))
        assert not detector.drift_detected


def test_small_windows_do_not_cry_at_a_low_threshold() -> None:
    """With a threshold below the noise of small windows, the noise bound keeps steady streams quiet."""
    random = np.random.default_rng(12)
    detector = Psi([f"f{i}" for i in range(64)], random.normal(size=(1000, 64)), threshold=0.01)
    alarms = 0
    for _ in range(100):
        detector.update(random.normal(size=(60, 64)))
        alarms += detector.drift_detected
    assert alarms <= 1


@pytest.mark.parametrize("change", ["shift", "scale", "constant", "missing"])
def test_a_moved_feature_is_named(change: str) -> None:
    """A feature that moves, widens, freezes or goes missing is found and named; the others are not."""
    random = np.random.default_rng(13)
    detector = Psi(["a", "b", "c"], random.normal(size=(2000, 3)), threshold=0.25)
    rows = random.normal(size=(500, 3))
    column = {
        "shift": rows[:, 1] + 1.5,
        "scale": rows[:, 1] * 4.0,
        "constant": np.full(500, 0.1),
        "missing": np.where(random.random(500) < 0.5, np.nan, rows[:, 1]),
    }[change]
    rows[:, 1] = column
    detector.update(rows)
    assert detector.drift_detected
    assert [detector.names[f] for f in detector.moved] == ["b"]


def test_a_stream_that_always_wanders_may_go_on() -> None:
    """A feature whose reference already wandered between blocks needs more than that to have moved."""
    random = np.random.default_rng(14)
    wandering = np.repeat(random.normal(size=40), 50) + 0.3 * random.normal(size=2000)
    detector = Psi(["load"], wandering[:, None], threshold=0.25)
    again = np.repeat(random.normal(size=8), 50) + 0.3 * random.normal(size=400)
    detector.update(again[:, None])
    assert detector.thresholds[0] > 0.25
    assert not detector.drift_detected


def test_a_new_category_is_drift() -> None:
    """Answers of a class that the reference did not know move the class shares."""
    random = np.random.default_rng(15)
    detector = Psi(
        ["class"], random.integers(0, 3, size=(2000, 1)).astype(float), threshold=0.25, categories=[3]
    )
    detector.update(random.integers(0, 3, size=(500, 1)).astype(float))
    assert not detector.drift_detected
    detector.update(random.integers(1, 4, size=(500, 1)).astype(float))
    assert detector.drift_detected


def test_a_snapshot_changes_nothing() -> None:
    """A detector that went through JSON measures the same."""
    random = np.random.default_rng(16)
    detector = Psi(["a", "b"], random.normal(size=(2000, 2)), threshold=0.25)
    restored = Psi.restored(json.loads(json.dumps(detector.snapshot())))
    rows = random.normal(loc=0.4, size=(400, 2))
    detector.update(rows)
    restored.update(rows)
    assert detector.statistics.tolist() == restored.statistics.tolist()
    assert detector.thresholds.tolist() == restored.thresholds.tolist()


def test_the_noise_bound_is_chi_square() -> None:
    """The bound equals scipy's χ² quantile within 2 %, and PSI of equal histograms is 0."""
    from scipy.stats import chi2

    expected = chi2.isf(1e-4, 9) * (1 / 300 + 1 / 2000)
    assert noise_bound(300, 2000, 10, 1e-4) == pytest.approx(expected, rel=0.02)
    assert psi(np.array([5.0, 5.0]), np.array([5.0, 5.0])) == 0.0


def test_distances_agree_with_scipy() -> None:
    """Wasserstein and Kolmogorov-Smirnov from quantiles come close to scipy's from all values."""
    from scipy.stats import ks_2samp, wasserstein_distance

    random = np.random.default_rng(17)
    reference, values = random.normal(size=5000), random.normal(loc=0.7, size=800)
    quantiles = np.quantile(reference, QUANTILES)
    assert wasserstein(quantiles, values) == pytest.approx(wasserstein_distance(reference, values), abs=0.05)
    assert kolmogorov_smirnov(quantiles, values) == pytest.approx(
        ks_2samp(reference, values).statistic, abs=0.03
    )
