"""The gate with planted candidates: what is bad in a known way is rejected for that reason."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.config import Gate
from trainers.evaluate import Evidence, pushed
from trainers.gate import judge
from trainers.paired import Paired, PairedLosses

ROWS = 400


def _answers(accuracy: float, *, first_wrong: int = 0) -> NDArray[np.bool_]:
    """Return right/wrong answers whose wrong ones begin at row `first_wrong`."""
    right = np.ones(ROWS, dtype=bool)
    right[first_wrong : first_wrong + round(ROWS * (1 - accuracy))] = False
    return right


def _differing(rows: int, better: int, worse: int) -> Paired:
    """Return answers of which the candidate alone has `better` right and the champion alone `worse`."""
    candidate, champion = np.ones(rows, dtype=bool), np.ones(rows, dtype=bool)
    champion[:better] = False
    candidate[better : better + worse] = False
    return Paired(candidate, champion)


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


def test_a_negative_min_gain_accepts_what_is_not_worse_by_as_much() -> None:
    """A tie on 400 rows excludes a loss of a point; on 100 rows, or with four rows lost, it does not."""
    tie = replace(GOOD, recent=Paired(_answers(0.95), _answers(0.95)))
    assert judge(tie, Gate(min_gain=-0.01)).released
    few = replace(GOOD, recent=Paired(_answers(0.95)[:100], _answers(0.95)[:100]))
    assert "does not exclude a loss of 0.01" in judge(few, Gate(min_gain=-0.01)).reasons[0]
    lost = replace(GOOD, recent=Paired(_answers(0.94), _answers(0.95)))
    assert "does not exclude" in judge(lost, Gate(min_gain=-0.01)).reasons[0]


@pytest.mark.parametrize("better", [12, 25, 40, 75])
def test_a_point_more_on_a_thousand_rows_is_released(better: int) -> None:
    """Ten rows more are right of 1,000, though up to 140 differ and no exact test calls 75 to 65 better."""
    verdict = judge(replace(GOOD, recent=_differing(1000, better, better - 10)), Gate())
    assert verdict.released, verdict.reasons
    assert verdict.metrics["not_worse_p"] < 0.05


def test_a_point_more_is_not_enough_where_it_says_little() -> None:
    """On 990 rows, by nine rows, or among so many differing ones that a loss of a point is not excluded."""
    for rows, better, worse in ((990, 75, 65), (1000, 74, 65), (1000, 105, 95)):
        verdict = judge(replace(GOOD, recent=_differing(rows, better, worse)), Gate())
        assert "not significant" in verdict.reasons[0]


def test_all_reasons_are_told() -> None:
    """Worse, forgetful on old and golden rows, too slow and far from torch: five reasons."""
    before = _answers(0.97)
    bad = replace(
        GOOD,
        recent=Paired(_answers(0.9), _answers(0.95)),
        old=Paired(_answers(0.9), before),
        golden=Paired(_answers(0.9), before),
        parity=1.0,
        p99_ms=99.0,
    )
    told = judge(bad, Gate()).reasons
    assert len(told) == 5
    for words in ("ONNX and torch", "p99", "gain -0.05", "on old rows", "on golden rows"):
        assert any(words in reason for reason in told)


def test_losses_are_judged_by_the_bootstrap() -> None:
    """A regression whose errors are lower by a tenth is released; an equal one and a worse one are not."""
    chance = np.random.default_rng(1)
    before = chance.exponential(1.0, 500)
    noise = chance.normal(0, 0.02, 500)
    for factor, released in ((0.9, True), (1.0, False), (1.1, False)):
        losses = PairedLosses(factor * before + noise - noise.mean(), before)
        assert judge(replace(GOOD, losses=losses), Gate()).released == released


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
    assert "one answer for all" in judge(replace(first, majority=0.95), Gate()).reasons[0]


def test_pushed_rows_differ_in_a_quarter_of_their_readings() -> None:
    """Each row has two of eight readings moved, by ten robust deviations."""
    values = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    moved = pushed(values) != values
    assert (moved.sum(1) == 2).all()
