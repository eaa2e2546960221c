"""What a candidate can do: consumes held-out rows, candidate, graphs and champion; produces Evidence.

Text and sensor classifiers are right or wrong by their labels, a regression within its tolerance of the true
number; of its recent answers the absolute errors are compared, too. An anomaly model has no labels: it is
right when it calls a held-out row normal, and when it calls the same row with a few readings pushed far out
an anomaly. Both models answer the same rows, so the comparison is paired.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort

from schemas.config import Gate
from schemas.release import Task
from trainers.dataset import Array, Dataset, matrix, targets
from trainers.encoder import Encoder, Precision, padded, session
from trainers.export import parity
from trainers.golden import Golden
from trainers.metrics import classification, regression
from trainers.model import ANOMALY, NORMAL, Model, answers, probabilities
from trainers.paired import Losses, Paired, PairedLosses, Truths
from trainers.perceptron import robust
from trainers.row import Row
from trainers.slices import Slice, worst

_SAMPLE: Final = 24
_LATENCY_RUNS: Final = 100
_PUSH_SIGMAS: Final = 10.0
_EVALUATED: Final = 5000


@dataclass(frozen=True)
class Evidence:
    """All that the gate judges by. `agreement` is INT8's with FP32, None where there is no INT8.

    `golden` are the rows that never change; `losses` are of recent rows, where answers are numbers and not
    right or wrong, and are judged in place of `recent`.
    """

    recent: Paired
    old: Paired
    majority: float
    serve: Precision
    parity: float
    p99_ms: float
    agreement: float | None = None
    golden: Paired | None = None
    losses: PairedLosses | None = None
    problems: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    slices: list[Slice] = field(default_factory=list)


def measure(
    candidate: Model, champion: Model | None, folder: Path, variants: dict[str, str], data: Dataset,
    golden: Golden | None = None, agreement: float | None = None,
) -> Evidence:  # fmt: skip
    """Measure a candidate, in the precision it would serve in, beside the champion on the same rows.

    Its graphs lie in `folder`; `agreement` is what `choose_variant` found.
    """
    recent, old = judged_by(data)
    sample = recent[:_SAMPLE]
    difference = parity(
        folder, variants, candidate.network, candidate.encoder,
        [row.text for row in sample] if candidate.encoder else matrix(sample, candidate.features),
    )  # fmt: skip
    running = session(folder / variants[candidate.precision])
    evidence = Evidence(
        recent=_paired(candidate, champion, recent),
        old=_remembered(candidate, champion, old),
        golden=None if golden is None else _remembered(candidate, champion, golden.rows),
        majority=_constant(recent, candidate),
        serve=candidate.precision,
        parity=max(difference.values()),
        p99_ms=latency_ms(running, candidate.encoder, sample, candidate.features),
        agreement=agreement,
        losses=None if champion is None else _losses(candidate, champion, recent),
    )
    evidence.metrics.update(_metrics(evidence, candidate, recent))
    evidence.slices.extend(worst(recent, evidence.recent))
    return evidence


def judged_by(data: Dataset) -> tuple[list[Row], list[Row]]:
    """Return the recent and the old rows that a candidate is judged by."""
    return data.recent_held_out[:_EVALUATED], data.old_held_out[:_EVALUATED]


def choose_variant(
    candidate: Model, rows: Sequence[Row], gate: Gate, precision: str
) -> tuple[Precision, float | None]:
    """Return the variant to serve and INT8's agreement with FP32 on held-out rows.

    INT8 is 2 to 3 times as fast on CPU, so it serves unless it answers otherwise too often or costs accuracy.
    """
    if candidate.encoder is None:
        return "fp32", None
    full, small = (answers(candidate.at(kind).outputs(rows), candidate.labels) for kind in ("fp32", "int8"))
    agreement = float((full == small).mean())
    truth = np.array([row.label for row in rows])
    cost = float((full == truth).mean() - (small == truth).mean())
    if precision == "int8" or (precision == "auto" and agreement >= gate.min_agreement and cost <= 0.005):
        return "int8", agreement
    return "fp32", agreement


def latency_ms(
    running: ort.InferenceSession, encoder: Encoder | None, rows: Sequence[Row], features: Sequence[str]
) -> float:
    """Return the 99th percentile of one row's answer, in milliseconds of this thread's processor time.

    Processor time, because the trainer runs at low priority beside serving: its waiting is no property of
    the model. The session has one thread, so nothing is computed elsewhere.
    """
    inputs = (
        [{"values": matrix([row], features)} for row in rows]
        if encoder is None
        else [padded([ids]) for ids in encoder.tokens([row.text for row in rows])]
    )
    spent = []
    for number in range(_LATENCY_RUNS + 5):
        began = time.thread_time()
        running.run(None, inputs[number % len(inputs)])
        spent.append((time.thread_time() - began) * 1000)
    return float(np.quantile(spent[5:], 0.99))


def pushed(values: Array, seed: int = 11) -> Array:
    """Return rows (N, F) with a quarter of the readings of each pushed ten robust deviations out."""
    if not len(values):
        return values
    chance = np.random.default_rng(seed)
    _, scale = robust(values)
    width = values.shape[1]
    count = max(1, width // 4)
    chosen = np.argsort(chance.random(values.shape), axis=1) < count
    signs = chance.choice([-1.0, 1.0], size=values.shape)
    return np.where(chosen, values + signs * _PUSH_SIGMAS * scale, values).astype(np.float32)


def _paired(candidate: Model, champion: Model | None, rows: Sequence[Row]) -> Paired:
    tolerance = float(candidate.network.threshold)
    return Paired(
        right(candidate, rows, tolerance), None if champion is None else right(champion, rows, tolerance)
    )


def _remembered(candidate: Model, champion: Model | None, rows: Sequence[Row]) -> Paired:
    """Compare both models on rows of before.

    Of numbers a row is lost, or won, where one model's error is larger than the other's by twice the
    tolerance: once for what the world moved without contradicting the row, once for the error itself.
    """
    if candidate.task is not Task.REGRESSION or champion is None:
        return _paired(candidate, champion, rows)
    own, before = errors(candidate, rows), errors(champion, rows)
    slack = 2 * float(candidate.network.threshold)
    return Paired(np.asarray(own <= before + slack), np.asarray(before <= own + slack))


def _losses(candidate: Model, champion: Model, rows: Sequence[Row]) -> PairedLosses | None:
    """Return the absolute errors of both models' numbers; None where answers are none."""
    if candidate.task is not Task.REGRESSION:
        return None
    return PairedLosses(errors(candidate, rows), errors(champion, rows))


def errors(model: Model, rows: Sequence[Row]) -> Losses:
    """Return (N,) how far a regression's answers lie from the true numbers."""
    return np.asarray(np.abs(model.outputs(rows) - targets(rows)), dtype=np.float64)


def right(model: Model, rows: Sequence[Row], tolerance: float | None = None) -> Truths:
    """Return (N,) whether the model is right on each row; for anomaly models (2N,), the pushed rows last.

    A regression is right within `tolerance`, or within its own without one.
    """
    if not rows:
        return np.zeros(0, dtype=np.bool_)
    if model.task is Task.REGRESSION:
        most = float(model.network.threshold) if tolerance is None else tolerance
        return np.asarray(errors(model, rows) <= most)
    if model.task is Task.CLASSIFICATION:
        found = answers(model.outputs(rows), model.labels)
        return np.asarray(found == np.array([row.label for row in rows]))
    values = model.inputs(rows)
    truth = np.array([ANOMALY if row.label == ANOMALY else NORMAL for row in rows])
    real = answers(model.network.answer(values), model.labels) == truth
    far = answers(model.network.answer(pushed(values)), model.labels) == ANOMALY
    return np.concatenate([real, far])


def _constant(rows: Sequence[Row], model: Model) -> float:
    """Return the accuracy of one answer for all: the commonest, or of numbers the median."""
    if model.task is Task.ANOMALY:
        return 0.5
    if model.task is Task.REGRESSION:
        apart = np.abs(targets(rows) - np.median(targets(rows)))
        return float((apart <= float(model.network.threshold)).mean())
    _, counts = np.unique([row.label for row in rows], return_counts=True)
    return float(counts.max() / counts.sum())


def _metrics(evidence: Evidence, model: Model, recent: Sequence[Row]) -> dict[str, float]:
    metrics = {
        "accuracy": evidence.recent.accuracy,
        "rows_evaluated": float(len(recent)),
        "majority": evidence.majority,
        "parity": evidence.parity,
        "p99_ms": evidence.p99_ms,
    }
    if evidence.agreement is not None:
        metrics["int8_agreement"] = evidence.agreement
    if model.task is Task.CLASSIFICATION:
        truth = np.array([row.label for row in recent])
        metrics |= classification(truth, probabilities(model.outputs(recent)), model.labels)
    if model.task is Task.REGRESSION:
        metrics |= regression(targets(recent), model.outputs(recent))
        metrics["tolerance"] = float(model.network.threshold)
    if evidence.losses is not None:
        metrics["champion_mae"] = float(evidence.losses.champion.mean())
        metrics["loss_gain"] = evidence.losses.gain
    if evidence.recent.champion is not None:
        metrics["champion_accuracy"] = evidence.recent.champion_accuracy
        metrics["gain"] = evidence.recent.gain
        if len(evidence.old.candidate):
            metrics["old_accuracy"] = evidence.old.accuracy
            metrics["forgetting"] = -evidence.old.gain
        if evidence.golden is not None:
            metrics["golden_accuracy"] = evidence.golden.accuracy
            metrics["golden_forgetting"] = -evidence.golden.gain
    return {name: round(value, 9) for name, value in metrics.items() if np.isfinite(value)}
