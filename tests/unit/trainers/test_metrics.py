"""The figures against other implementations and against values computed by hand or published."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, f1_score, roc_auc_score

from trainers.metrics import brier, calibration_error, classification, regression, roc_auc

LABELS = ("a", "b", "c")


def _answers(rows: int) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
    chance = np.random.default_rng(1)
    truth = chance.choice(LABELS, rows)
    shares = chance.dirichlet([1, 1, 1], rows) + 0.5 * (truth[:, None] == np.array(LABELS))
    return truth, (shares / shares.sum(1, keepdims=True)).astype(np.float32)


def test_a_classifiers_figures_are_complete_and_agree() -> None:
    """Macro, micro and each class; micro F1 is accuracy; AUC and F1 are scikit-learn's own."""
    truth, shares = _answers(500)
    figures = classification(truth, shares, LABELS)
    found = np.array(LABELS)[shares.argmax(1)]
    assert figures["f1_macro"] == pytest.approx(f1_score(truth, found, average="macro"))
    assert figures["f1_micro"] == pytest.approx(figures["accuracy"])
    assert figures["f1/b"] == pytest.approx(f1_score(truth, found, average=None, labels=["b"])[0])
    assert figures["roc_auc"] == pytest.approx(roc_auc_score(truth, shares, multi_class="ovr"), abs=1e-6)
    names = {"precision_macro", "recall_macro", "precision_micro", "recall/c", "ece", "brier"}
    assert names < set(figures)


def test_a_truth_that_the_model_does_not_know_is_wrong_and_breaks_nothing() -> None:
    """An unknown label lowers accuracy, macro F1 and Brier; a lone class has no ROC."""
    truth, shares = _answers(100)
    before = classification(truth, shares, LABELS)
    truth = np.where(np.arange(100) < 20, "new label / 7", truth)
    figures = classification(truth, shares, LABELS)
    assert figures["accuracy"] < before["accuracy"] and figures["brier"] > before["brier"]
    assert figures["recall/new label _ 7"] == 0
    assert roc_auc(np.array(["a"] * 9), shares[:9], LABELS) is None


def test_brier_and_calibration_by_hand() -> None:
    """Two classes: Brier is twice scikit-learn's; confidence .9 with half right is .4 off."""
    truth = np.array(list("babb"))
    shares = np.array([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5], [0.9, 0.1]])
    assert brier(truth, shares, ("a", "b")) == pytest.approx(2 * brier_score_loss(truth == "b", shares[:, 1]))
    confidence, right = np.array([0.9, 0.9, 0.5, 0.5]), np.array([True, False, True, False])
    assert calibration_error(confidence, right) == pytest.approx(0.2)
    assert calibration_error(np.ones(3), np.ones(3, dtype=bool)) == 0


def test_regression_by_hand() -> None:
    """Errors of 1, 1, 0 and 2."""
    figures = regression(np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 3, 2]))
    assert figures == pytest.approx({"mae": 1.0, "rmse": math.sqrt(1.5), "r2": 1 - 6 / 5})
