"""NAB's score: its scale, its sigmoid by hand, its sweep against plain counting."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.bench.nab.corpus import Series, Window
from infra.bench.nab.profiles import LOW_FN, LOW_FP, PROFILES, STANDARD
from infra.bench.nab.run import Judge
from infra.bench.nab.scoring import (
    NEVER,
    OUTSIDE,
    PROBATION,
    Floats,
    normalised,
    outcome,
    places,
    probation,
    sigmoid,
    sweep,
)


def series(rows: int, *windows: tuple[int, int], name: str = "a/b.csv") -> Series:
    """Return a series of so many rows, every five minutes."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [start + timedelta(minutes=5 * row) for row in range(rows)]
    return Series(name, times, [0.0] * rows, [Window(*window) for window in windows])


def alarming(rows: int, *at: int) -> Floats:
    """Return scores of 1 at the given rows, and 0 elsewhere."""
    scores = np.zeros(rows)
    scores[list(at)] = 1.0
    return scores


def points(labelled: Series, *at: int, profile=STANDARD) -> float:
    """Return the points of alarms at the given rows."""
    scores = alarming(len(labelled.values), *at)
    return outcome(labelled.name, places(labelled), scores, profile, 1.0).points


CORPUS = [series(1000, (300, 399), (600, 619)), series(500, (200, 249), name="c"), series(400, name="d")]


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_the_scale_runs_from_silent_to_perfect(profile):
    """One score for all readings is 0; an alarm at the first row of each window alone is 100."""
    judge = Judge(CORPUS)
    silent = [np.full(len(each.values), 0.5) for each in CORPUS]
    assert judge.optimised(silent, profile)["score"] == 0.0
    assert judge.optimised(silent, profile)["threshold"] == NEVER
    perfect = [alarming(len(each.values), *(w.first for w in each.windows)) for each in CORPUS]
    best = judge.optimised(perfect, profile)
    assert best == {"score": 100.0, "threshold": 1.0, "found": 3, "false_alarms": 0}


def test_the_sigmoid_by_hand():
    """2 / (1 + e^(5y)) - 1 at the places that the paper names; far behind a window it is -1."""
    assert sigmoid(-1.0) == pytest.approx(0.9866142982)
    assert sigmoid(-0.5) == pytest.approx(0.8482836400)
    assert sigmoid(0.0) == 0.0
    assert sigmoid(1.0) == pytest.approx(-0.9866142982)
    assert sigmoid(3.0) == pytest.approx(-0.9999993882)
    assert sigmoid(3.0001) == -1.0


def test_points_by_hand():
    """A window of ten rows, 40 to 49 of 100: its first and last row, the row behind it, far away."""
    labelled = series(100, (40, 49))
    assert points(labelled) == -1.0
    assert points(labelled, 40) == pytest.approx(1.0)
    assert points(labelled, 49) == pytest.approx(0.2449186624 / 0.9866142982)
    assert points(labelled, 45, 48) == pytest.approx(0.8482836400 / 0.9866142982)
    assert points(labelled, 50) == pytest.approx(-1.0 - 0.11 * 0.2708470)
    assert points(labelled, 30) == pytest.approx(-1.11)
    assert points(labelled, 30, profile=LOW_FP) == pytest.approx(-1.22)
    assert points(labelled, 30, profile=LOW_FN) == pytest.approx(-2.11)
    assert points(labelled, 98, 99) == pytest.approx(-1.22)


def test_the_probationary_period_is_not_judged():
    """15 % of the rows, 750 at most; a window inside of it cannot be missed, but counts as findable."""
    assert (probation(100), probation(4032), probation(5000), probation(22_695)) == (15, 604, 750, 750)
    labelled = series(100, (3, 9))
    assert points(labelled, 0, 5, 14) == 0.0
    assert normalised(0.0, [places(labelled)], STANDARD) == 0.0
    assert set(places(labelled).window[:15]) == {PROBATION}


def test_rows_behind_a_window_are_rated_by_the_last_one():
    """Between two windows the first one's end counts, behind the second the second's."""
    place = places(series(400, (100, 119), (200, 209)))
    assert place.window[150] == OUTSIDE == place.window[300]
    assert place.worth[138] == pytest.approx(sigmoid(1.0))
    assert place.worth[218] == pytest.approx(sigmoid(1.0))
    assert place.worth[60] == -1.0


def test_no_labels_no_scale():
    """A corpus without any window has no perfect detector; its score is 0."""
    assert Judge([series(100)]).optimised([alarming(100, 50)], STANDARD)["score"] == 0.0


SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_sweep_is_plain_counting(data):
    """At every threshold the sweep's points are those of judging series by series; the best is the best."""
    corpus = []
    for name in ("a", "b"):
        rows = data.draw(st.integers(10, 60))
        ends = sorted(data.draw(st.sets(st.integers(0, rows - 1), max_size=4)))
        corpus.append(series(rows, *list(pairwise(ends))[::2], name=name))
    scores = [np.array([data.draw(SCORES) for _ in each.values]) for each in corpus]
    placed = [places(each) for each in corpus]
    profile = data.draw(st.sampled_from(PROFILES))
    swept = sweep(list(zip(placed, scores, strict=True)), profile)

    def plain(threshold: float) -> float:
        return sum(
            outcome(each.name, place, score, profile, threshold).points
            for each, place, score in zip(corpus, placed, scores, strict=True)
        )

    assert list(swept.thresholds) == sorted(set(swept.thresholds), reverse=True)
    for threshold, total in zip(swept.thresholds, swept.points, strict=True):
        assert total == pytest.approx(plain(threshold), abs=1e-9)
    assert swept.best[1] == pytest.approx(max(plain(t) for t in (NEVER, 0.0, 0.1, 0.25, 0.5, 0.75, 1.0)))
