"""Figures of a model on held-out rows: consumes truths and answers, produces named numbers.

scikit-learn computes what it has. Own are the multi-class Brier score (Brier 1950) and the expected
calibration error (Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017), which it has not.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.str_]
Floats = NDArray[np.float32] | NDArray[np.float64]

_BINS: Final = 15
_CLASSES_TOLD: Final = 20


def classification(truth: Labels, shares: Floats, labels: Sequence[str]) -> dict[str, float]:
    """Return the figures of a classifier: `truth` (N,), its probabilities `shares` (N, C) in `labels`' order.

    A truth that is none of `labels` counts as a wrong answer, and in no class's calibration. Of up to twenty
    classes each has its own precision, recall and F1, named `f1/label`.
    """
    from sklearn.metrics import precision_recall_fscore_support

    found = np.array(labels)[shares.argmax(1)]
    present = np.unique(truth)
    each = precision_recall_fscore_support(truth, found, labels=present, zero_division=0)
    micro = precision_recall_fscore_support(truth, found, average="micro", zero_division=0)
    figures = {"accuracy": float((found == truth).mean())}
    for name, by_class, over_all in zip(("precision", "recall", "f1"), each, micro, strict=False):
        figures[f"{name}_macro"] = float(np.mean(by_class))
        figures[f"{name}_micro"] = float(over_all)
        if len(present) <= _CLASSES_TOLD:
            figures |= {
                f"{name}/{_plain(label)}": float(value)
                for label, value in zip(present, by_class, strict=True)
            }
    figures["brier"] = brier(truth, shares, labels)
    figures["ece"] = calibration_error(shares.max(1), found == truth)
    area = roc_auc(truth, shares, labels)
    return figures if area is None else figures | {"roc_auc": area}


def roc_auc(truth: Labels, shares: Floats, labels: Sequence[str]) -> float | None:
    """Return the mean of the classes' areas under the ROC curve, one against the rest.

    Classes that none or all of the rows have are left out; None where no class is left.
    """
    from sklearn.metrics import roc_auc_score

    areas = [
        float(roc_auc_score(truth == label, shares[:, number]))
        for number, label in enumerate(labels)
        if 0 < np.sum(truth == label) < len(truth)
    ]
    return float(np.mean(areas)) if areas else None


def brier(truth: Labels, shares: Floats, labels: Sequence[str]) -> float:
    """Return the mean squared distance of the probabilities (N, C) to the truth's one-hot row: 0 to 2."""
    hot = truth[:, None] == np.array(labels)[None, :]
    outside = ~hot.any(1)  # a truth that the model does not know: all of its probability is misplaced
    return float(((shares - hot) ** 2).sum(1).mean() + outside.mean())


def calibration_error(confidence: Floats, right: NDArray[np.bool_]) -> float:
    """Return the mean distance of confidence (N,) to accuracy, over fifteen bins of equal width."""
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=_BINS)
    return float(np.abs(gaps).sum() / max(1, len(confidence)))


def regression(truth: Floats, found: Floats) -> dict[str, float]:
    """Return mean absolute error, root mean squared error and R² of answers (N,)."""
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    return {
        "mae": float(mean_absolute_error(truth, found)),
        "rmse": float(root_mean_squared_error(truth, found)),
        "r2": float(r2_score(truth, found)),
    }


def _plain(label: str) -> str:
    """Return a label as it may be part of a metric's name in MLflow."""
    return re.sub(r"[^\w .-]", "_", label, flags=re.ASCII)
