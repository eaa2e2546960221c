"""The Hampel identifier over a bounded window."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cleaning import Cleaning
from schemas.errors import Reason, Rejected
from streams.operators.history import WINDOW, History, Recent
from streams.operators.outliers import METHODS, Outliers, hampel, iqr, z


def steady(policy: str = "flag") -> tuple[Outliers, dict[str, Recent]]:
    """Make an operator that has seen a steady series around 20."""
    operator, recent = Outliers(Cleaning(outliers=policy)), History().of("s")
    rng = random.Random(7)
    for _ in range(200):
        operator.judge({"t": rng.gauss(20, 1)}, (), recent)
    return operator, recent


def test_limits_are_those_of_the_paper():
    """The limits are median ± k · 1.4826 · MAD, by hand: median 3, MAD 1."""
    assert hampel([1, 2, 3, 4, 100], 2.0) == pytest.approx((3 - 2 * 1.4826, 3 + 2 * 1.4826))


def test_a_window_without_spread_judges_nothing():
    """A constant series has no scale to measure a deviation by."""
    for limits in METHODS.values():
        low, high = limits([5.0] * 20, 3.0)
        assert low < -1e300 < 1e300 < high


def test_flag_clip_reject_off():
    """A spike is found under every policy but `off`, and treated accordingly."""
    for policy, found, value in (("flag", ["t"], 90.0), ("off", [], 90.0)):
        operator, recent = steady(policy)
        values = {"t": 90.0}
        assert operator.judge(values, (), recent) == found
        assert values["t"] == value
    operator, recent = steady("clip")
    values = {"t": 90.0}
    assert operator.judge(values, (), recent) == ["t"]
    assert values["t"] < 40
    operator, recent = steady("reject")
    with pytest.raises(Rejected) as caught:
        operator.judge({"t": 90.0}, (), recent)
    assert (caught.value.reason, caught.value.field) == (Reason.OUTLIER, "data.values.t")


def test_a_new_level_is_accepted_in_time():
    """After a lasting change of level, readings stop being outliers within a window."""
    operator, recent = steady()
    rng = random.Random(8)
    judged = [bool(operator.judge({"t": rng.gauss(60, 1)}, (), recent)) for _ in range(2 * WINDOW)]
    assert judged[0]
    assert not any(judged[WINDOW:])


def test_steady_readings_are_rarely_outliers():
    """On Gaussian noise at six sigmas next to nothing is flagged."""
    operator, recent = steady()
    rng = random.Random(9)
    assert sum(bool(operator.judge({"t": rng.gauss(20, 1)}, (), recent)) for _ in range(5000)) <= 5


def test_imputed_readings_are_not_remembered():
    """What cleaning made up itself must not count as evidence."""
    operator, recent = steady()
    before = list(recent["t"].readings)
    assert operator.judge({"t": 90.0}, ("t",), recent) == []
    assert list(recent["t"].readings) == before


def test_history_is_bounded_and_restores():
    """The least recently seen source is forgotten; a snapshot brings back the rest."""
    history = History(max_keys=2)
    for key in ("a", "b", "a", "c"):
        history.of(key).setdefault("t", Recent()).add(1.0)
    copy = History(max_keys=2)
    copy.restore(history.snapshot())
    assert [key for key, _ in copy.snapshot()] == ["a", "c"]
    assert copy.snapshot() == history.snapshot()


def test_tukeys_fences():
    """At 2.698 sigmas the fences lie one and a half interquartile ranges outside the quartiles, by hand."""
    assert iqr([1, 2, 3, 4, 5, 6, 7, 8], 2.698) == pytest.approx((2.5 - 6, 6.5 + 6), abs=1e-3)


def test_z_scores():
    """Mean 5, standard deviation 2, by hand."""
    assert z([2, 4, 4, 4, 5, 5, 7, 9], 3.0) == pytest.approx((-1.0, 11.0))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_a_spike_and_little_else(method):
    """On Gaussian noise all agree: a spike is an outlier, next to nothing else is."""
    operator, recent = Outliers(Cleaning(outlier_method=method)), History().of("s")
    rng = random.Random(11)
    assert sum(bool(operator.judge({"t": rng.gauss(20, 1)}, (), recent)) for _ in range(3000)) <= 6
    assert operator.judge({"t": 90.0}, (), recent) == ["t"]


@pytest.mark.parametrize("method", METHODS)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=16, max_size=48))
def test_no_readings_break_a_method(method, readings):
    """Not even those whose sum or square no float can hold."""
    operator, recent = Outliers(Cleaning(outlier_method=method)), History().of("s")
    for reading in readings:
        operator.judge({"t": reading}, (), recent)


def test_what_nobody_asks_for_is_not_remembered():
    """Without outliers and imputation from the past, the state stays empty."""
    operator, recent = Outliers(Cleaning(outliers="off", missing="drop")), History().of("s")
    assert operator.judge({"t": 1.0}, (), recent) == []
    assert recent == {}


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=60))
def test_history_never_holds_more_than_its_bound(steps):
    """However names spread over sources, at most so many are kept, besides those of the source in hand."""
    history = History(max_keys=5, max_series=8)
    for source, name in steps:
        history.of(str(source)).setdefault(str(name), Recent()).add(1.0)
        kept = history.snapshot()
        assert len(kept) <= 5
        assert sum(len(names) for _, names in kept[:-1]) <= 8
    copy = History(max_keys=5, max_series=8)
    copy.restore(history.snapshot())
    assert copy.snapshot() == history.snapshot()
