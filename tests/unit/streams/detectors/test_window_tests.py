"""The tests of features against a reference: quiet on steady windows, awake on moved ones, true to scipy."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2, kstwobign, wasserstein_distance
from scipy.stats import ks_2samp as two_samples

from streams.detectors.chi_squared import ChiSquared
from streams.detectors.jensen_shannon import JensenShannon
from streams.detectors.ks import KolmogorovSmirnov
from streams.detectors.psi import Psi
from streams.detectors.reference import Reference, Window
from streams.detectors.wasserstein import Wasserstein
from streams.detectors.window_test import BLOCKS, WindowTest, chi_squared_bound, smirnov_bound

Floats = npt.NDArray[np.float64]
TESTS = (Psi, KolmogorovSmirnov, Wasserstein, ChiSquared, JensenShannon)
ORDERED = (Psi, KolmogorovSmirnov, Wasserstein)


def made(
    test: type[WindowTest],
    names: Sequence[str],
    rows: Floats,
    *,
    categories: Sequence[int] = (),
    **settings: Any,
) -> WindowTest:
    """Return a test whose reference are these rows."""
    reference = Reference(names, rows, categories=categories)
    blocks = [Window(reference, block) for block in np.array_split(rows, BLOCKS)]
    return test(reference, blocks, **settings)


def update(test: WindowTest, rows: Floats) -> None:
    """Hand a test the next window."""
    test.update(Window(test.reference, rows))


@pytest.mark.parametrize("test", TESTS)
def test_steady_inputs_of_128_features_never_alert(test):
    """100 steady windows of 300 events with 128 features of many shapes raise nothing."""
    random = np.random.default_rng(11)

    def window(n: int) -> Floats:
        normal = random.normal(size=(n, 50))
        heavy = random.standard_t(2.5, size=(n, 28))
        counts = random.poisson(0.3, size=(n, 30)).astype(float)
        constant = np.full((n, 20), 7.0)
        return np.hstack([normal, heavy, counts, constant])

    detector = made(test, [f"f{i}" for i in range(128)], window(2000), alpha=1e-4 / 128)
    for _ in range(100):
        update(detector, window(300))
        assert not detector.drift_detected


@pytest.mark.parametrize("test", TESTS)
def test_small_windows_do_not_cry_at_a_low_threshold(test):
    """With a threshold below the noise of small windows, the bound of chance keeps steady streams quiet."""
    random = np.random.default_rng(12)
    names = [f"f{i}" for i in range(64)]
    detector = made(test, names, random.normal(size=(1000, 64)), threshold=0.01, alpha=1e-4 / 64)
    alarms = 0
    for _ in range(100):
        update(detector, random.normal(size=(60, 64)))
        alarms += detector.drift_detected
    assert alarms <= 1


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("change", ["shift", "scale", "constant"])
def test_a_moved_feature_is_named(test, change):
    """A feature that moves, widens or freezes is found and named by every test; the others are not."""
    random = np.random.default_rng(13)
    detector = made(test, ["a", "b", "c"], random.normal(size=(2000, 3)))
    rows = random.normal(size=(500, 3))
    column = {"shift": rows[:, 1] + 1.5, "scale": rows[:, 1] * 4.0, "constant": np.full(500, 0.1)}[change]
    rows[:, 1] = column
    update(detector, rows)
    assert detector.drift_detected
    assert [detector.reference.names[f] for f in detector.moved] == ["b"]


@pytest.mark.parametrize("test", [Psi, ChiSquared, JensenShannon])
def test_readings_that_go_missing_are_a_shift(test):
    """Half of a feature's readings missing is seen by the tests that count bins."""
    random = np.random.default_rng(13)
    detector = made(test, ["a", "b"], random.normal(size=(2000, 2)))
    rows = random.normal(size=(500, 2))
    rows[:250, 1] = np.nan
    update(detector, rows)
    assert detector.moved == [1]


@pytest.mark.parametrize("test", TESTS)
def test_a_stream_that_always_wanders_may_go_on(test):
    """A feature whose reference already wandered between blocks needs more than that to have moved."""
    random = np.random.default_rng(14)
    wandering = np.repeat(random.normal(size=40), 50) + 0.3 * random.normal(size=2000)
    detector = made(test, ["load"], wandering[:, None])
    again = np.repeat(random.normal(size=8), 50) + 0.3 * random.normal(size=400)
    update(detector, again[:, None])
    assert detector.thresholds[0] > detector.matters
    assert not detector.drift_detected


@pytest.mark.parametrize("test", [Psi, ChiSquared, JensenShannon])
def test_a_new_category_is_drift(test):
    """Answers of a class that the reference did not know move the class shares."""
    random = np.random.default_rng(15)
    rows = random.integers(0, 3, size=(2000, 1)).astype(float)
    detector = made(test, ["class"], rows, categories=[3])
    update(detector, random.integers(0, 3, size=(500, 1)).astype(float))
    assert not detector.drift_detected
    update(detector, random.integers(1, 4, size=(500, 1)).astype(float))
    assert detector.drift_detected


@pytest.mark.parametrize("test", [KolmogorovSmirnov, Wasserstein])
def test_categories_have_no_distances(test):
    """Codes of classes are not numbers: what swaps two of them is not seen by a test that orders them."""
    random = np.random.default_rng(15)
    detector = made(test, ["class"], random.integers(0, 2, size=(2000, 1)).astype(float), categories=[2])
    update(detector, np.zeros((500, 1)))
    assert not detector.drift_detected
    assert detector.statistics[0] == 0.0


@pytest.mark.parametrize("test", TESTS)
def test_a_snapshot_changes_nothing(test):
    """A test that went through JSON with its reference measures the same."""
    random = np.random.default_rng(16)
    detector = made(test, ["a", "b"], random.normal(size=(2000, 2)))
    kept = json.loads(json.dumps([detector.reference.snapshot(), detector.snapshot()]))
    restored = test(Reference.restored(kept[0]), ())
    restored.restore(kept[1])
    rows = random.normal(loc=0.4, size=(400, 2))
    update(detector, rows)
    update(restored, rows)
    assert detector.statistics.tolist() == restored.statistics.tolist()
    assert detector.thresholds.tolist() == restored.thresholds.tolist()


def test_bounds_are_those_of_the_laws():
    """The bounds of chance equal scipy's quantiles of χ² and of Kolmogorov's law within 2 %."""
    degrees = np.array([1.0, 2.0, 9.0, 30.0])
    assert chi_squared_bound(degrees, 1e-4) == pytest.approx(chi2.isf(1e-4, degrees), rel=1e-6)
    expected = kstwobign.isf(1e-4) * np.sqrt(1 / 300 + 1 / 2000)
    assert smirnov_bound(np.array([300.0]), np.array([2000.0]), 1e-4)[0] == pytest.approx(expected, rel=0.02)


def test_distances_agree_with_scipy():
    """What is read from a sketch comes close to what scipy finds in all values."""
    random = np.random.default_rng(17)
    reference, values = random.normal(size=5000), random.normal(loc=0.7, size=800)
    found = {}
    for test in TESTS:
        detector = made(test, ["a"], reference[:, None])
        update(detector, values[:, None])
        found[test.name] = detector.statistics[0]
    counts = Reference(["a"], reference[:, None])
    shares = [c[0] / c[0].sum() for c in (counts.counts, Window(counts, values[:, None]).counts)]
    assert found["wasserstein"] == pytest.approx(wasserstein_distance(reference, values), abs=0.05)
    assert found["ks"] == pytest.approx(two_samples(reference, values).statistic, abs=0.03)
    assert found["jensen_shannon"] == pytest.approx(jensenshannon(*shares, base=2), abs=1e-9)


def test_half_a_standard_deviation_matters_to_every_test():
    """The five thresholds say the same: what they call an effect is a shift of about half a deviation."""
    random = np.random.default_rng(18)
    for test in TESTS:
        detector = made(test, ["a"], random.normal(size=(20_000, 1)))
        update(detector, random.normal(size=(20_000, 1)) + 0.35)
        assert not detector.drift_detected, test.name
        update(detector, random.normal(size=(20_000, 1)) + 0.65)
        assert detector.drift_detected, test.name
