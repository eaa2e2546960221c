"""The gate with planted candidates: what is bad in a known way is rejected for that reason."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.config import Gate
from trainers.evaluate import Evidence, Paired, f1_macro, pushed
from trainers.gate import judge, mcnemar

ROWS = 400


def _answers(accuracy: float, *, first_wrong: int = 0) -> NDArray[np.bool_]:
    """Return right/wrong answers whose wrong ones begin at row `first_wrong`."""
    right = np.ones(ROWS, dtype=bool)
    right[first_wrong : first_wrong + round(ROWS * (1 - accuracy))] = False
    return right


GOOD = Evidence(
    recent=Paired(_answers(0.95), _answers(0.75)),
    old=Paired(_answers(0.97), _answers(0.97)),
    majority=0.6,
    serve="int8",
    parity=1e-6,
    p99_ms=9.0,
    agreement=0.99,
)


def test_a_better_candidate_is_released() -> None:
    """Twenty points better on recent rows, equal on old ones."""
    verdict = judge(GOOD, Gate())
    assert verdict.released
    assert verdict.metrics["mcnemar_p"] < 1e-6


@pytest.mark.parametrize("points", [1, 2, 5])
def test_a_candidate_worse_on_recent_rows_is_rejected(points: int) -> None:
    """1, 2 and 5 points worse than the champion."""
    worse = replace(GOOD, recent=Paired(_answers(0.95 - points / 100), _answers(0.95, first_wrong=100)))
    verdict = judge(worse, Gate())
    assert not verdict.released
    assert "gain -0.0" in verdict.reasons[0]


@pytest.mark.parametrize("points", [2, 5])
def test_a_candidate_that_forgets_is_rejected(points: int) -> None:
    """Better on recent rows does not pay for being worse on old ones by more than is allowed."""
    forgetful = replace(GOOD, old=Paired(_answers(0.97 - points / 100), _answers(0.97)))
    assert "forgets" in judge(forgetful, Gate()).reasons[0]
    assert "forgets" in judge(replace(GOOD, old=Paired(_answers(0.955), _answers(0.97))), Gate()).reasons[0]


def test_two_old_rows_lost_among_a_hundred_are_chance_and_three_are_not() -> None:
    """A small held-out set does not reject a good candidate for a row or two."""
    lost = [np.ones(100, dtype=bool) for _ in range(2)]
    lost[0][:2], lost[1][:3] = False, False
    before = np.ones(100, dtype=bool)
    assert judge(replace(GOOD, old=Paired(lost[0], before)), Gate()).released
    assert not judge(replace(GOOD, old=Paired(lost[1], before)), Gate()).released


def test_luck_is_no_gain() -> None:
    """One row more among many that differ is rejected as not significant."""
    lucky = Paired(_answers(0.90), _answers(0.8975, first_wrong=100))
    assert "not significant" in judge(replace(GOOD, recent=lucky), Gate()).reasons[0]


def test_a_negative_min_gain_accepts_a_tie() -> None:
    """Who asks for no gain gets none tested."""
    tie = replace(GOOD, recent=Paired(_answers(0.95), _answers(0.95)))
    assert judge(tie, Gate(min_gain=-0.01)).released


@pytest.mark.parametrize(
    ("flaw", "reason"),
    [
        ({"problems": ("weights are not finite: layers.0.weight",)}, "not finite"),
        ({"problems": ("model.fp32.onnx gives shape ['rows', 3], not (2,)",)}, "gives shape"),
        ({"parity": 3e-4}, "ONNX and torch differ"),
        ({"parity": float("nan")}, "ONNX and torch differ"),
        ({"p99_ms": 51.0}, "p99 of one answer"),
        ({"agreement": 0.9}, "INT8 agrees"),
    ],
)
def test_an_unsound_graph_is_rejected(flaw: dict[str, Any], reason: str) -> None:
    """However well it answers: NaN, shape, parity, latency, INT8."""
    verdict = judge(replace(GOOD, **flaw), Gate())
    assert not verdict.released
    assert reason in verdict.reasons[0]


def test_a_first_model_must_beat_the_majority() -> None:
    """Without a champion, only a model no better than a constant answer is rejected."""
    first = replace(GOOD, recent=Paired(_answers(0.95)), old=Paired(np.zeros(0, dtype=bool)))
    assert judge(first, Gate()).released
    assert "majority" in judge(replace(first, majority=0.95), Gate()).reasons[0]


@settings(deadline=None)  # the first call imports scipy
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=200))
def test_mcnemar_is_scipys_binomial_test(pairs: list[tuple[bool, bool]]) -> None:
    """The exact p-value equals the binomial test's on the rows that differ."""
    from scipy.stats import binomtest

    pair = Paired(np.array([a for a, _ in pairs], dtype=bool), np.array([b for _, b in pairs], dtype=bool))
    better, worse = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    expected = binomtest(better, better + worse, alternative="greater").pvalue if better + worse else 1.0
    assert mcnemar(pair) == pytest.approx(expected)


def test_f1_macro_is_the_mean_over_the_classes_in_the_truth() -> None:
    """Precision 1/2 and recall 1 for a, 2/3 and 2/3 for b, nothing for c, which is never answered."""
    truth, found = np.array(["a", "b", "b", "b", "c"]), np.array(["a", "b", "b", "a", "b"])
    assert f1_macro(truth, found) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)


def test_pushed_rows_differ_in_a_quarter_of_their_readings() -> None:
    """Each row has two of eight readings moved, by ten robust deviations."""
    values = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    moved = pushed(values) != values
    assert (moved.sum(1) == 2).all()
