"""What a candidate can do: consumes held-out rows, candidate, graphs and champion; produces Evidence.

Text and sensor classifiers are right or wrong by their labels. An anomaly model has no labels: it is right
when it calls a held-out row normal, and when it calls the same row with a few readings pushed far out an
anomaly. Both models answer the same rows, so the comparison is paired.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from schemas.config import Gate
from schemas.release import Task
from trainers.dataset import Array, Dataset, Row, matrix
from trainers.encoder import Encoder, Precision, padded, session
from trainers.export import parity
from trainers.model import ANOMALY, NORMAL, Model, answers
from trainers.perceptron import robust

Truths = NDArray[np.bool_]

_SAMPLE: Final = 24
_LATENCY_RUNS: Final = 100
_PUSH_SIGMAS: Final = 10.0
_EVALUATED: Final = 1500


@dataclass(frozen=True)
class Paired:
    """For each row of one set, whether each model was right; `champion` is None before the first release."""

    candidate: Truths
    champion: Truths | None = None

    @property
    def accuracy(self) -> float:
        """Return the candidate's share of right answers, 0 for no rows."""
        return float(self.candidate.mean()) if len(self.candidate) else 0.0

    @property
    def champion_accuracy(self) -> float:
        """Return the champion's share of right answers."""
        return float(self.champion.mean()) if self.champion is not None and len(self.champion) else 0.0


@dataclass(frozen=True)
class Evidence:
    """All that the gate judges by. `agreement` is INT8's with FP32, None where there is no INT8."""

    recent: Paired
    old: Paired
    majority: float
    serve: Precision
    parity: float
    p99_ms: float
    agreement: float | None = None
    problems: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)


def measure(
    candidate: Model, champion: Model | None, folder: Path, variants: dict[str, str], data: Dataset,
    gate: Gate,
    precision: str = "auto",
) -> Evidence:  # fmt: skip
    """Measure a candidate whose graphs lie in `folder`, beside the champion on the same rows."""
    recent, old = data.recent_held_out[:_EVALUATED], data.old_held_out[:_EVALUATED]
    served, agreement = choose_variant(candidate, [*recent, *old], gate, precision)
    judged = candidate.at(served)
    truth_recent = _right(judged, recent)
    problems = _problems(judged, recent[:_SAMPLE], folder, variants)
    sample = recent[:_SAMPLE]
    difference = parity(
        folder, variants, candidate.network, candidate.encoder,
        [row.text for row in sample] if candidate.encoder else matrix(sample, candidate.features),
    )  # fmt: skip
    worst = max(difference.values())
    p99 = latency_ms(session(folder / variants[served]), candidate.encoder, sample, candidate.features)
    evidence = Evidence(
        recent=Paired(truth_recent, None if champion is None else _right(champion, recent)),
        old=Paired(_right(judged, old), None if champion is None else _right(champion, old)),
        majority=_majority(recent, candidate.task),
        serve=served,
        parity=worst,
        p99_ms=p99,
        agreement=agreement,
        problems=problems,
    )
    evidence.metrics.update(_metrics(evidence, judged, recent))
    return evidence


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


def f1_macro(truth: NDArray[np.str_], found: NDArray[np.str_]) -> float:
    """Return the mean of the classes' F1, over the classes that are in `truth`."""
    each = []
    for label in np.unique(truth):
        hits = np.sum((truth == label) & (found == label))
        each.append(2 * hits / (np.sum(truth == label) + np.sum(found == label)))
    return float(np.mean(each))


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


def _right(model: Model, rows: Sequence[Row]) -> Truths:
    """Return whether the model is right on each row; for anomaly models (2N,), the pushed rows last."""
    if not rows:
        return np.zeros(0, dtype=np.bool_)
    if model.task is not Task.ANOMALY:
        found = answers(model.outputs(rows), model.labels)
        return np.asarray(found == np.array([row.label for row in rows]))
    values = model.inputs(rows)
    truth = np.array([ANOMALY if row.label == ANOMALY else NORMAL for row in rows])
    real = answers(model.network.answer(values), model.labels) == truth
    far = answers(model.network.answer(pushed(values)), model.labels) == ANOMALY
    return np.concatenate([real, far])


def _majority(rows: Sequence[Row], task: Task) -> float:
    """Return the accuracy of always giving the commonest answer."""
    if task is Task.ANOMALY:
        return 0.5
    _, counts = np.unique([row.label for row in rows], return_counts=True)
    return float(counts.max() / counts.sum())


def _problems(model: Model, rows: Sequence[Row], folder: Path, variants: dict[str, str]) -> tuple[str, ...]:
    """Say what makes a candidate unfit to be served at all: NaN weights or answers, a wrong shape."""
    found = []
    bad = [name for name, tensor in model.network.state_dict().items() if not bool(tensor.isfinite().all())]
    if bad:
        found.append(f"weights are not finite: {', '.join(bad)}")
    if not np.isfinite(model.outputs(rows)).all():
        found.append("answers are not finite")
    for file in variants.values():
        shape = session(folder / file).get_outputs()[0].shape
        wanted = 1 if model.task is Task.ANOMALY else 2
        if len(shape) != wanted or (wanted == 2 and shape[1] != len(model.labels)):
            found.append(
                f"{file} gives shape {shape}, not {'(rows,)' if wanted == 1 else (len(model.labels),)}"
            )
    return tuple(found)


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
    if model.task is not Task.ANOMALY:
        found = answers(model.outputs(recent), model.labels)
        metrics["f1_macro"] = f1_macro(np.array([row.label for row in recent]), found)
    if evidence.recent.champion is not None:
        metrics["champion_accuracy"] = evidence.recent.champion_accuracy
        metrics["gain"] = evidence.recent.accuracy - evidence.recent.champion_accuracy
        if len(evidence.old.candidate):
            metrics["old_accuracy"] = evidence.old.accuracy
            metrics["forgetting"] = evidence.old.champion_accuracy - evidence.old.accuracy
    return {name: round(value, 9) for name, value in metrics.items() if np.isfinite(value)}
