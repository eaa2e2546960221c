"""Estimated accuracy: near the truth for over-confident scores, whatever mix of answers comes."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.detectors.cbpe import BINS, Cbpe


def over_confident(score: float) -> float:
    """Return how often answers of a model that is too sure of itself are right."""
    return 0.3 + 0.5 * score


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.0), (0.0, 0.5), (0.8, 1.0)])
def test_the_estimate_is_near_the_truth(low, high):
    """Within two points of the accuracy of answers whose scores lie elsewhere than those of the labels."""
    random, cbpe = Random(3), Cbpe()
    for _ in range(20_000):
        score = random.random()
        cbpe.learn(score, random.random() < over_confident(score))
    scores = [random.uniform(low, high) for _ in range(5_000)]
    estimate, error = cbpe.estimate(scores)
    assert estimate == pytest.approx(np.mean([over_confident(score) for score in scores]), abs=0.02)
    assert 0 < error < 0.01


def test_without_labels_a_score_is_believed():
    """The estimate of a model that nobody judged is its mean confidence, to a bin's width."""
    assert Cbpe().estimate([0.9, 0.7])[0] == pytest.approx(0.8, abs=1 / BINS)


@given(st.lists(st.tuples(st.floats(-0.5, 1.5), st.booleans()), max_size=50), st.floats(-1, 2))
def test_snapshots_change_nothing_and_estimates_are_shares(answers, score):
    """Whatever scores come, also from outside 0 to 1."""
    cbpe, copy = Cbpe(), Cbpe()
    for one, right in answers:
        cbpe.learn(one, right)
    copy.restore(cbpe.snapshot())
    assert copy.estimate([score]) == cbpe.estimate([score])
    assert 0 <= cbpe.estimate([score])[0] <= 1
    assert copy.labels == cbpe.labels == len(answers)
