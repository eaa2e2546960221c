"""Scores and matches, by hand and against the library that has some of them."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from infra.backtest.drifts import match
from infra.backtest.score import Score, Track, kappa, window_of

LABELS = st.sampled_from("abc")


@given(st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=60))
def test_macro_f1_is_that_of_scikit_learn(pairs):
    """Labels that were true at least once count alike."""
    score = Score()
    for truth, answer in pairs:
        score.add(truth, answer)
    truths, answers = zip(*pairs, strict=True)
    expected = f1_score(truths, answers, labels=sorted(set(truths)), average="macro", zero_division=0.0)
    assert score.f1_macro == pytest.approx(expected)
    assert score.accuracy == sum(t == a for t, a in pairs) / len(pairs)


def test_kappa_temporal_compares_with_no_change():
    """Half of what no change gets wrong, right: 0.5; worse than it: below 0; nothing to gain: 0."""
    assert kappa(0.9, 0.8) == pytest.approx(0.5)
    assert (kappa(0.7, 0.8) or 0.0) < 0
    assert kappa(1.0, 1.0) == 0.0
    assert kappa(None, 0.5) is None


def test_windows_add_up_to_the_whole():
    """Each answer is in the window of its row."""
    chance = random.Random(1)
    track = Track(100)
    for number in range(1050):
        track.add(number, "a", chance.choice("ab"))
    windows = track.windows()
    assert [(first, end) for first, end, _ in windows][-1] == (1000, 1100)
    assert sum(part.right for *_, part in windows) == track.whole.right
    assert sum(part.count for *_, part in windows) == 1050


@given(st.integers(1, 10**7))
def test_windows_are_round_and_not_too_many(rows):
    """At most a hundred of them, each of at least a hundred rows."""
    window = window_of(rows)
    assert window >= 100 and rows / window <= 100


def test_alarms_are_matched_with_the_drift_before_them():
    """The first alarm within the tolerance finds; a second one, one too late and one before any are false."""
    matched = match([50, 1020, 1100, 2999, 3001], [1000, 2000, 3000], tolerance=500)
    assert matched.delays == {1000: 20, 3000: 1}
    assert matched.missed == [2000] and matched.false == (50, 1100, 2999)
    assert matched.mean_delay == 10.5
    assert matched.figures()["given"] == 3


@given(st.lists(st.integers(0, 500)), st.sets(st.integers(0, 500)), st.integers(1, 100))
def test_every_alarm_and_every_drift_is_accounted_for(alarms, drifts, tolerance):
    """Found and missed are the drifts, found and false are the alarms."""
    matched = match(alarms, sorted(drifts), tolerance)
    assert len(matched.delays) + len(matched.missed) == len(drifts)
    assert len(matched.delays) + len(matched.false) == len(alarms)
    assert all(0 <= delay < tolerance for delay in matched.delays.values())
