"""Distillation: what it counts, which rows it is asked of, and that it keeps what a champion knew."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.config import Learn
from schemas.release import Task
from tests.unit.trainers import samples
from trainers.dataset import Dataset, from_memory, matrix
from trainers.distillation import SoftTargets, blended, soft_targets
from trainers.finetune import tune
from trainers.model import Model
from trainers.perceptron import Perceptron, sensor_classifier
from trainers.row import Row

FEATURES = ("cpu", "fan_rpm", "memory_mb", "temperature")
LABELS = ("busy", "idle")
FOREVER = float("inf")

logits = st.lists(st.lists(st.floats(-20, 20), min_size=3, max_size=3), min_size=1, max_size=6)


def _targets(rows: list[list[float]], weight: float = 1.0) -> SoftTargets:
    told = torch.tensor(rows, dtype=torch.float64)
    return SoftTargets(told, torch.ones(len(told), dtype=torch.bool), weight)


def _loss(targets: SoftTargets, outputs: torch.Tensor) -> float:
    at = torch.arange(len(outputs))
    return float(targets.loss(outputs, at, torch.ones(len(outputs), dtype=torch.float64)))


@given(logits, st.lists(st.floats(-20, 20), min_size=6, max_size=6))
def test_who_answers_as_the_teacher_loses_nothing(rows: list[list[float]], new: list[float]) -> None:
    """Equal logits of the old classes, or such as differ by a constant, whatever those of new classes are."""
    told = torch.tensor(rows, dtype=torch.float64)
    student = torch.cat([told + 3.0, torch.tensor(new[: len(rows)], dtype=torch.float64)[:, None]], dim=1)
    assert _loss(_targets(rows), student) == pytest.approx(0.0, abs=1e-6)


@given(logits, logits)
def test_the_loss_is_never_negative_and_grows_with_its_weight(
    rows: list[list[float]], others: list[list[float]]
) -> None:
    """A divergence of zero at least; twice the weight counts twice."""
    count = min(len(rows), len(others))
    outputs = torch.tensor(others[:count], dtype=torch.float64)
    once, twice = (_loss(_targets(rows[:count], weight), outputs) for weight in (1.0, 2.0))
    assert once >= -1e-9
    assert twice == pytest.approx(2 * once)


def test_rows_that_are_not_distilled_count_nothing() -> None:
    """However far the student is from the teacher there."""
    told = torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    targets = SoftTargets(told, torch.tensor([False, False]), 1.0)
    assert float(targets.loss(-told, torch.arange(2), torch.ones(2))) == 0.0


def _network(rows: list[Row], seed: int = 1) -> Perceptron:
    torch.manual_seed(seed)
    return sensor_classifier(LABELS, matrix(rows, FEATURES))


def _tuned(network: Perceptron, rows: list[Row], learn: Learn, teacher: SoftTargets | None) -> Perceptron:
    truth = np.array([network.labels.index(row.label) for row in rows])
    tune(network, matrix(rows, FEATURES), truth, learn, deadline=FOREVER, teacher=teacher)
    return network


def _champion(rows: list[Row], learn: Learn) -> Model:
    return Model(Task.CLASSIFICATION, _tuned(_network(rows), rows, learn, None), features=FEATURES)


def _same(one: Perceptron, other: Perceptron) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


def test_without_weight_nothing_changes() -> None:
    """`distill = 0` gives no targets; targets that count nothing give the same weights, bit by bit."""
    data = from_memory(samples.readings(1, 200))
    learn = Learn(epochs=4)
    champion = _champion(data.training, learn)
    inputs = matrix(data.training, FEATURES)
    off = soft_targets(champion, Learn(distill=0), data, data.training, inputs)
    assert off is None
    assert soft_targets(None, learn, data, data.training, inputs) is None
    targets = soft_targets(champion, Learn(distill=1e-9), data, data.training, inputs)
    assert targets is not None and targets.distilled.any()
    idle = SoftTargets(targets.logits, torch.zeros_like(targets.distilled), 1.0)
    one, other = (_tuned(champion.network.clone(), data.training, learn, told) for told in (None, idle))
    assert _same(one, other)
    taught = _tuned(champion.network.clone(), data.training, learn, soft_targets(
        champion, learn, data, data.training, inputs
    ))  # fmt: skip
    assert not _same(one, taught)


def _turned(rows: list[samples.Labelled]) -> list[samples.Labelled]:
    other = {"busy": "idle", "idle": "busy"}
    return [(event, other[label]) for event, label in rows]


def _distilled(data: Dataset, champion: Model) -> tuple[float, float]:
    """Return which shares of the recent and of the old training rows are distilled."""
    found = soft_targets(champion, Learn(), data, data.training, matrix(data.training, FEATURES))
    assert found is not None
    count = len(data.recent)
    old = found.distilled[count:]
    return float(found.distilled[:count].float().mean()), float(old.float().mean()) if len(old) else 0.0


def test_replayed_rows_are_distilled_unless_recent_ones_contradict_them() -> None:
    """All where the concept stands; none where recent labels say the opposite of most."""
    old = samples.readings(1, 400)
    champion = _champion(from_memory(old).training, Learn(epochs=15))
    recent = samples.readings(2, 300, after_s=5000)
    recent_share, old_share = _distilled(from_memory(recent, old), champion)
    assert recent_share == 0.0 and old_share > 0.95
    few = [*_turned(recent[:60]), *recent[60:]]
    assert 0.0 < _distilled(from_memory(few, old), champion)[1] <= old_share
    turned = from_memory(_turned(recent), old)
    inputs = matrix(turned.training, FEATURES)
    assert soft_targets(champion, Learn(), turned, turned.training, inputs) is None


def test_without_replay_recent_rows_are_where_the_teacher_is_right_or_knows_no_better() -> None:
    """Right about all of the old concept, about none of its opposite; and a class that it does not know."""
    old = samples.readings(1, 400)
    champion = _champion(from_memory(old).training, Learn(epochs=15))
    recent = samples.readings(2, 300, after_s=5000)
    assert _distilled(from_memory(recent), champion)[0] > 0.95
    assert _distilled(from_memory(_turned(recent)), champion)[0] < 0.05
    new = [(event, "off") for event, _ in recent]
    assert _distilled(from_memory(new), champion)[0] == 1.0


def test_less_is_forgotten_with_a_teacher() -> None:
    """Nothing is replayed, and labels near the old rows turn: what a student keeps of its teacher is more."""
    old = from_memory(samples.readings(1, 400))
    champion = _champion(old.training, Learn(epochs=15))
    apart = []
    for distill in (0.0, 1.0):
        learn = Learn(distill=distill, epochs=10)
        recent = samples.readings(2, 200, shift=0.2, after_s=5000)
        data = from_memory([(event, "off") for event, label in recent if label == "busy"])
        inputs = matrix(data.training, FEATURES)
        network = champion.network.clone().grow((*LABELS, "off"))
        _tuned(network, data.training, learn, soft_targets(champion, learn, data, data.training, inputs))
        asked = matrix(old.test, FEATURES)
        told, kept = champion.network.answer(asked), network.answer(asked)[:, : len(LABELS)]
        apart.append(float((_soft(told) * (np.log(_soft(told)) - np.log(_soft(kept)))).sum(1).mean()))
    assert apart[1] < 0.5 * apart[0]


def _soft(told: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the softmax of logits (N, C)."""
    shares = np.exp(told.astype(np.float64) - told.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))


def test_a_blend_lies_between_and_gives_way_where_the_world_has_moved() -> None:
    """No share, no change; a share moves every weight by as much; not if recent rows are unlearnt by it."""
    rows = from_memory(samples.readings(1, 300)).training
    inputs = matrix(rows, FEATURES)
    teacher = _champion(rows, Learn(epochs=10)).network
    student = _tuned(teacher.clone(), rows, Learn(epochs=3, seed=8), None)
    truth = student.answer(inputs).argmax(1)
    assert _same(blended(student, teacher, 0.0, inputs, truth), student)
    half = blended(student, teacher, 0.5, inputs, truth)
    for own, one, other in zip(half.parameters(), student.parameters(), teacher.parameters(), strict=True):
        torch.testing.assert_close(own, (one + other) / 2)
    away = _tuned(teacher.clone(), [_other(row) for row in rows], Learn(epochs=20), None)
    kept = blended(away, teacher, 0.9, inputs, away.answer(inputs).argmax(1))
    assert kept is away


def _other(row: Row) -> Row:
    return Row(
        source=row.source, id=row.id, time=row.time, event=row.event, values=row.values,
        label="idle" if row.label == "busy" else "busy",
    )  # fmt: skip
