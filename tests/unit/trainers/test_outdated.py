"""Old rows that recent ones contradict: a changed concept is found, and what is new, rare or far is none."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.config import Stream
from schemas.release import Task
from tests.unit.trainers import samples
from trainers.dataset import feature_names, from_memory, matrix
from trainers.model import Model
from trainers.outcome import Job
from trainers.outdated import outdated, still_true
from trainers.perceptron import sensor_classifier
from trainers.pipeline import train


def _points(
    seed: int, count: int, *, turned: bool = False, moved: float = 0.0
) -> tuple[Tensor, NDArray[np.str_]]:
    """Return points of a plane, labelled by the sign of the first coordinate, or by its opposite."""
    places = np.random.default_rng(seed).normal(size=(count, 2))
    labels = np.where((places[:, 0] > 0) != turned, "a", "b")
    return torch.from_numpy(places + moved).float(), labels


def test_what_is_turned_round_is_outdated() -> None:
    """Where the same events have the opposite label now, nearly all old rows are contradicted."""
    found = outdated(*_points(1, 300, turned=True), *_points(2, 1000), 1000)
    assert found.mean() > 0.8


@pytest.mark.parametrize("moved", [0.0, 8.0])
def test_what_still_holds_is_kept(moved: float) -> None:
    """The same concept contradicts nothing; nor does an opposite one that is met elsewhere."""
    found = outdated(*_points(1, 300, turned=moved > 0, moved=moved), *_points(2, 1000), 1000)
    assert found.mean() < 0.02


def test_noise_contradicts_little() -> None:
    """With one label in ten wrong on both sides a few rows fall, not a tenth of them."""
    (recent, recent_labels), (old, old_labels) = _points(1, 500), _points(2, 1000)
    chance = np.random.default_rng(3)
    for labels in (recent_labels, old_labels):
        wrong = chance.random(len(labels)) < 0.1
        labels[wrong] = np.where(labels[wrong] == "a", "b", "a")
    assert outdated(recent, recent_labels, old, old_labels, 1000).mean() < 0.03


def test_a_class_that_became_rare_is_not_outdated() -> None:
    """Attacks that hardly come any more stay known: where they lay no normal event lies now."""
    chance = np.random.default_rng(4)
    normal, attack = chance.normal(size=(400, 2)), chance.normal(size=(200, 2)) + 4.0
    old = torch.from_numpy(np.concatenate([normal, attack])).float()
    labels = np.array(["normal"] * 400 + ["attack"] * 200)
    recent = torch.from_numpy(chance.normal(size=(300, 2))).float()
    found = outdated(recent, np.array(["normal"] * 300), old, labels, 600)
    assert found[400:].mean() < 0.02


def test_too_few_rows_contradict_nothing() -> None:
    """Four recent rows, or four old ones."""
    few, many = _points(1, 4, turned=True), _points(2, 100)
    assert not outdated(*few, *many, 100).any()
    assert not outdated(*many, *few, 4).any()


def test_forgetting_is_judged_by_what_still_holds() -> None:
    """Of the old held-out rows those fall whose state is called otherwise now; all others stay."""
    old = samples.readings(1, 400)
    renamed = {"busy": "idle", "idle": "busy"}
    recent = [(event, renamed[label]) for event, label in samples.readings(2, 200, after_s=1000)]
    data = from_memory(recent, old)
    features = feature_names(data.recent)
    network = sensor_classifier(("busy", "idle"), matrix(data.old, features))
    model = Model(Task.CLASSIFICATION, network, features=features)
    changed = still_true(data, model)
    assert changed.training == data.training
    assert changed.recent_held_out == data.recent_held_out
    assert len(changed.old_held_out) < 0.1 * len(data.old_held_out)
    same = from_memory(samples.readings(2, 200, after_s=1000), old)
    assert still_true(same, model) == same


def test_a_model_that_learns_a_changed_concept_passes_the_gate(tmp_path: Path) -> None:
    """Its states are called the other way round now: what it answers of old rows is not held against it."""
    stream = Stream.model_validate({"kind": "sensor", "model": {}, "gate": {"p99_ms": 500}})
    old = samples.readings(1, 400)
    renamed = {"busy": "idle", "idle": "busy"}
    recent = [(event, renamed[label]) for event, label in samples.readings(2, 400, after_s=1000)]
    job = Job(home=str(tmp_path), stream="host", config=stream.model_dump_json(), run=str(tmp_path))
    first = train(job, from_memory(old))
    assert first.released, first.reasons
    second = train(msgspec.structs.replace(job, champion=first.release), from_memory(recent, old[:100]))
    assert second.released, second.reasons
    assert second.metrics["accuracy"] > 0.9 > second.metrics["champion_accuracy"]
