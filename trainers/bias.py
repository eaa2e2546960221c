"""Bias by slice: consumes held-out rows and a candidate's answers, produces where it treats events otherwise.

For each source: its accuracy beside that of all other rows, how often each class is answered beside how often
it is true, and how far confidence is from accuracy. A difference is flagged where it is too large for chance,
tested once for all slices together (Holm 1979), and large enough to matter. The gate does not look at it.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.release import Task
from trainers.evaluate import right
from trainers.markdown import cell
from trainers.model import ANOMALY, NORMAL, Model, answers, probabilities
from trainers.row import Row
from trainers.slices import LEAST, by_source

Labels = NDArray[np.str_]
Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]

ALPHA: Final = 0.05
"""The chance of any false flag of one kind in a card."""

POINTS: Final = 0.02
"""Differences below two points are not flagged, however sure they are."""

_SLICES: Final = 50
_SHOWN: Final = 10
_CLASSES_SHOWN: Final = 3


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """How often a slice is answered with a class, and how often that is true; `p` after Holm's correction."""

    label: str
    answered: float
    true: float
    p: float
    flagged: bool


class Bias(msgspec.Struct, frozen=True, kw_only=True):
    """One slice of the held-out rows beside the `rest` of them.

    `accuracy_p` is of Fisher's exact test, a rate's `p` of McNemar's, `calibration_p` of a t-test, each
    corrected for the number of tests of its kind. `overconfidence` is mean confidence less accuracy, None for
    answers without a probability. Where one source is worse than the rest, the rest is better than it: only
    the worse is flagged.
    """

    by: str
    name: str
    rows: int
    accuracy: float
    rest: float
    accuracy_p: float
    less_accurate: bool
    rates: tuple[Rate, ...]
    overconfidence: float | None = None
    rest_overconfidence: float | None = None
    calibration_p: float | None = None
    overconfident: bool = False

    @property
    def findings(self) -> list[str]:
        """Return what is flagged, each in a sentence."""
        found = []
        if self.less_accurate:
            gap = _points(self.rest - self.accuracy)
            found.append(self._said(f"{gap} less accurate than the rest", self.accuracy_p))
        for rate in self.rates:
            if rate.flagged:
                way = "more" if rate.answered > rate.true else "less"
                gap = _points(abs(rate.answered - rate.true))
                shares = f"{rate.answered:.1%} for {rate.true:.1%}"
                found.append(
                    self._said(f"answered {rate.label} {gap} {way} often than is true, {shares}", rate.p)
                )
        if self.overconfident:
            gap = _points((self.overconfidence or 0.0) - (self.rest_overconfidence or 0.0))
            said = f"{gap} more confident for its accuracy than the rest"
            found.append(self._said(said, self.calibration_p or 0.0))
        return found

    def _said(self, what: str, p: float) -> str:
        shown = "< .001" if p < 0.001 else f"= {p:.3f}".replace("0.", ".", 1)
        return f"{self.by} {self.name}: {what} (p {shown}, {self.rows} rows)"


def of_candidate(candidate: Model, rows: Sequence[Row]) -> tuple[Bias, ...]:
    """Return a candidate's biases on held-out rows; to an anomaly model rows without a label are normal."""
    if not rows:
        return ()
    outputs = candidate.outputs(rows)
    answered = answers(outputs, candidate.labels)
    if candidate.task is Task.ANOMALY:
        truth = np.array([ANOMALY if row.label == ANOMALY else NORMAL for row in rows])
        return biases(rows, truth, answered)
    if candidate.task is Task.REGRESSION:
        near = np.where(right(candidate, rows), "near", "far")
        return biases(rows, np.full(len(rows), "near"), near, rated=False)
    confidence = probabilities(outputs).max(1).astype(np.float64)
    return biases(rows, np.array([row.label for row in rows]), answered, confidence)


def biases(
    rows: Sequence[Row], truth: Labels, answered: Labels, confidence: Floats | None = None,
    *, rated: bool = True,
) -> tuple[Bias, ...]:  # fmt: skip
    """Return the largest sources' biases; `truth`, `answered` and `confidence` are of `rows`, (N,) each.

    How often each class is answered is told unless classes are not `rated`.

    Sources of fewer than thirty rows are left out, as are those that nothing else can be set beside.
    """
    groups = {
        name: np.array(numbers)
        for name, numbers in by_source(rows).items()
        if LEAST <= len(numbers) <= len(rows) - LEAST
    }
    names = sorted(groups, key=lambda name: (-len(groups[name]), name))[:_SLICES]
    inside = [np.isin(np.arange(len(rows)), groups[name]) for name in names]
    good = truth == answered
    classes = sorted({*truth.tolist(), *answered.tolist()}) if rated else []
    accuracies = holm([_fisher(good, within) for within in inside])
    tested = [(within, label) for within in inside for label in classes]
    rates = holm([_mcnemar(truth[within] == label, answered[within] == label) for within, label in tested])
    gaps = None if confidence is None else confidence - good
    calibrations = [] if gaps is None else holm([_student(gaps, within) for within in inside])
    return tuple(
        _bias(
            name, within, good, accuracies[at],
            _rates(truth[within], answered[within], classes, rates[at * len(classes) :]),
            None if gaps is None else (gaps, calibrations[at]),
        )
        for at, (name, within) in enumerate(zip(names, inside, strict=True))
    )  # fmt: skip


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values as Holm's step-down procedure corrects them, for all tests of a family together.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, highest = [1.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=lambda at: p_values[at])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = highest
    return corrected


def markdown(found: Sequence[Bias]) -> list[str]:
    """Return a card's section on bias."""
    lines = ["## Bias by source", ""]
    if not found:
        return [*lines, f"No source has {LEAST} held-out rows, and {LEAST} of others to set beside them.", ""]
    findings = [finding for bias in found for finding in bias.findings]
    lines += [f"- {cell(finding)}" for finding in findings] or [
        f"Nothing is flagged: no source of {len(found)} is surely worse by {100 * POINTS:g} points or more."
    ]
    heads = ("source", "rows", "accuracy", "of the rest", "p", "confidence less accuracy", "of the rest")
    lines += ["", f"| {' | '.join(heads)} | answered less true |", "|---|--:|--:|--:|--:|--:|--:|---|"]
    for bias in found[:_SHOWN]:
        cells = (
            cell(bias.name), str(bias.rows), f"{bias.accuracy:.4f}", f"{bias.rest:.4f}",
            f"{bias.accuracy_p:.3g}", _signed(bias.overconfidence), _signed(bias.rest_overconfidence),
            ", ".join(_excesses(bias.rates)),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    if len(found) > _SHOWN:
        lines += ["", f"{len(found) - _SHOWN} smaller sources are in the JSON."]
    return [*lines, "", "The gate does not judge by this; a source may differ because its events do.", ""]


def _excesses(rates: Sequence[Rate]) -> list[str]:
    """Return the classes that are answered too often, or not often enough, by most points first."""
    order = sorted(rates, key=lambda rate: (-abs(rate.answered - rate.true), rate.label))
    return [f"{cell(rate.label)} {rate.answered - rate.true:+.3f}" for rate in order[:_CLASSES_SHOWN]]


def _bias(
    name: str, within: Truths, right: Truths, p: float, rates: tuple[Rate, ...],
    calibration: tuple[Floats, float] | None,
) -> Bias:  # fmt: skip
    accuracy, rest = float(right[within].mean()), float(right[~within].mean())
    bias = Bias(
        by="source", name=name, rows=int(within.sum()), accuracy=accuracy, rest=rest, accuracy_p=p,
        less_accurate=p < ALPHA and rest - accuracy >= POINTS,
        rates=rates,
    )  # fmt: skip
    if calibration is None:
        return bias
    gaps, chance = calibration
    here, there = float(gaps[within].mean()), float(gaps[~within].mean())
    return msgspec.structs.replace(
        bias, overconfidence=here, rest_overconfidence=there, calibration_p=chance,
        overconfident=chance < ALPHA and here - there >= POINTS,
    )  # fmt: skip


def _rates(
    truth: Labels, answered: Labels, classes: Sequence[str], p_values: Sequence[float]
) -> tuple[Rate, ...]:
    found = []
    for label, p in zip(classes, p_values, strict=False):
        said, true = float((answered == label).mean()), float((truth == label).mean())
        flagged = p < ALPHA and abs(said - true) >= POINTS
        found.append(Rate(label=label, answered=said, true=true, p=p, flagged=flagged))
    return tuple(found)


def _fisher(right: Truths, within: Truths) -> float:
    """Return the two-sided p-value of "a slice is as accurate as the rest" (Fisher 1922)."""
    from scipy.stats import fisher_exact

    table = [[int(np.sum(right[side])), int(np.sum(~right[side]))] for side in (within, ~within)]
    return float(fisher_exact(table).pvalue)


def _mcnemar(true: Truths, said: Truths) -> float:
    """Return the two-sided exact p-value of "a class is answered as often as it is true" (McNemar 1947)."""
    from scipy.stats import binomtest

    more, less = int(np.sum(said & ~true)), int(np.sum(true & ~said))
    return float(binomtest(more, more + less).pvalue) if more + less else 1.0


def _student(gaps: Floats, within: Truths) -> float:
    """Return the two-sided p-value of "confidence is as far from accuracy here as elsewhere" (Student 1908).

    The variance is of all rows: thirty rows that are all right seem to have none of their own.
    """
    from scipy.stats import ttest_ind

    if float(np.ptp(gaps)) < 1e-9:
        return 1.0
    p = float(ttest_ind(gaps[within], gaps[~within]).pvalue)
    return p if np.isfinite(p) else 1.0


def _points(share: float) -> str:
    return f"{100 * share:.1f} points"


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"
