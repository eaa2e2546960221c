"""What speaks for each class: planted reasons first, the same each time, nothing of broken candidates."""

import time

import msgspec
import numpy as np
import pytest
import torch

from schemas.config import Learn
from schemas.release import Task
from tests.unit.trainers import samples
from trainers.dataset import Dataset, from_memory, matrix
from trainers.explain.classes import CLASSES, ROWS, by_class, markdown
from trainers.finetune import tune
from trainers.model import Model
from trainers.perceptron import sensor_autoencoder, sensor_classifier

FEATURES = ("cpu", "fan_rpm", "memory_mb", "temperature")


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Readings of a machine, of which `cpu` is made to say alone which state it is in."""
    chance = np.random.default_rng(3)
    rows = []
    for event, label in samples.readings(1, 600):
        values = dict.fromkeys(FEATURES, 0.0) | {name: float(chance.normal()) for name in FEATURES[1:]}
        values["cpu"] = float(chance.normal(90 if label == "busy" else 10, 5))
        rows.append((msgspec.structs.replace(event, values=values), label))
    return from_memory(rows)


@pytest.fixture(scope="module")
def candidate(data: Dataset) -> Model:
    """A classifier that was trained on them."""
    torch.manual_seed(1)
    labels = data.labels()
    values = matrix(data.training, FEATURES)
    network = sensor_classifier(labels, values)
    truth = np.array([labels.index(row.label) for row in data.training])
    tune(network, values, truth, Learn(epochs=10), deadline=time.monotonic() + 60)
    return Model(Task.CLASSIFICATION, network, features=FEATURES)


def test_the_planted_reading_speaks_for_each_class(candidate: Model, data: Dataset) -> None:
    """With its mean in that class beside what is usual, and how many rows it was of."""
    found = by_class(candidate, data, sound=True)
    assert {spoken.label for spoken in found.classes} == {"busy", "idle"} and found.note == ""
    for spoken in found.classes:
        first = spoken.speaks_for[0]
        assert first.name == "cpu" and first.share > 1 and spoken.rows == first.rows == ROWS
        assert first.value == pytest.approx(90 if spoken.label == "busy" else 10, abs=8)
    text = "\n".join(markdown(found))
    assert "| busy | 8 | `cpu` (+" in text and "usually" in text


def test_a_candidate_is_explained_alike_each_time(candidate: Model, data: Dataset) -> None:
    """In whatever order its rows come, and whatever the generators' states are."""
    first = by_class(candidate, data, sound=True)
    torch.manual_seed(99)
    turned = msgspec.structs.replace(data, recent_held_out=data.recent_held_out[::-1])
    assert by_class(candidate, turned, sound=True) == first


def test_a_broken_candidate_is_not_explained(candidate: Model, data: Dataset) -> None:
    """Neither one that the examination found broken nor one whose answers are no numbers."""
    assert "broken" in by_class(candidate, data, sound=False).note
    network = candidate.network.clone()
    with torch.no_grad():
        next(iter(network.layers.parameters())).fill_(float("nan"))
    found = by_class(Model(candidate.task, network, features=FEATURES), data, sound=True)
    assert found.classes == () and "no finite numbers" in found.note
    assert found.note in "\n".join(markdown(found))


def test_an_anomaly_model_says_what_raises_its_highest_scores(data: Dataset) -> None:
    """The reading that is far out in a few held-out rows comes first."""
    values = matrix(data.training, FEATURES)
    network = sensor_autoencoder(values)
    tune(network, values, None, Learn(epochs=5), deadline=time.monotonic() + 60)
    far = [
        msgspec.structs.replace(row, values={**row.values, "memory_mb": 40.0}) if number < ROWS else row
        for number, row in enumerate(data.recent_held_out)
    ]
    model = Model(Task.ANOMALY, network, features=FEATURES)
    found = by_class(model, msgspec.structs.replace(data, recent_held_out=far), sound=True)
    assert [spoken.label for spoken in found.classes] == ["anomaly"] and found.unit == "anomaly score"
    assert found.classes[0].speaks_for[0].name == "memory_mb"
    assert found.classes[0].held_out == len(data.test)


def test_of_many_classes_the_largest_are_explained(data: Dataset) -> None:
    """Twenty, by their held-out rows, however many there are."""
    labels = tuple(f"c{number:02}" for number in range(CLASSES + 5))
    rows = [
        msgspec.structs.replace(row, label=labels[number % len(labels)])
        for number, row in enumerate(data.training[: 4 * len(labels)] + data.training[: len(labels) - 5])
    ]
    rows = [msgspec.structs.replace(row, id=f"{number}") for number, row in enumerate(rows)]
    network = sensor_classifier(labels, matrix(data.training, FEATURES)).eval()
    held = msgspec.structs.replace(data, recent_held_out=rows, old_held_out=[])
    found = by_class(Model(Task.CLASSIFICATION, network, features=FEATURES), held, sound=True)
    assert [spoken.label for spoken in found.classes] == list(labels[:CLASSES])
