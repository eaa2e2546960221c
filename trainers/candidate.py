"""The tuned candidate: consumes a job's dataset and the champion, produces a model that nobody judged yet.

What a stream's events carry says which model learns: texts an encoder with a head, values a perceptron.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
import torch

from schemas.errors import Fatal
from schemas.release import Task
from trainers.augmentation.augmenter import augmenter
from trainers.augmentation.balance import variants
from trainers.backbone import Backbone
from trainers.checkpoints import Checkpoint
from trainers.dataset import Array, Dataset, Numbers, feature_names, matrix, targets
from trainers.distillation import SoftTargets, blended, soft_targets
from trainers.encoder import Encoder, locate, prepare
from trainers.finetune import Checked, Curve, Indices, set_tolerance, tune
from trainers.fit import Run, fit
from trainers.history import Recorder
from trainers.model import Model
from trainers.outcome import Job
from trainers.outdated import replayable
from trainers.perceptron import (
    Perceptron,
    robust,
    sensor_autoencoder,
    sensor_classifier,
    sensor_regressor,
    text_head,
)
from trainers.profile import Profile
from trainers.recipe import Mode, Recipe, split
from trainers.row import Row
from trainers.tasks.texts import Ids, TextLearner, under_a_head

_EPOCHS_BELOW: Final = 3
"""Epochs of what lies below the head: it is pretrained and needs few."""

_FEWEST_TO_CHECK: Final = 10
"""Validation rows below which training sets a tenth of its own rows aside."""


class Rows(NamedTuple):
    """Labelled rows to train on, and those that say when to stop: none where there are too few."""

    training: list[Row]
    checked: list[Row]


class Given(NamedTuple):
    """Rows as a network takes them: (N, F) inputs, (N,) truth, those that are checked, and what is taught."""

    inputs: Array
    truth: Indices
    checked: Checked | None
    teacher: SoftTargets | None


def augmented(job: Job, data: Dataset) -> Dataset:
    """Return the dataset with variants of the rare classes' training rows, as the configuration wants them.

    Raises:
        Fatal: the augmenter of the configuration is not there.
    """
    model = job.learner
    if model.task is not Task.CLASSIFICATION:
        return data
    made = variants(data, model.learn, lambda: augmenter(model.learn.augment_with, model.base))
    return msgspec.structs.replace(data, variants=made)


def tuned(
    job: Job, data: Dataset, champion: Model | None, deadline: float, profile: Profile
) -> tuple[Model, Curve]:
    """Return a candidate tuned on the dataset, continuing from the champion unless the job starts afresh."""
    model = job.learner
    base = None if job.fresh else champion
    if any(row.text for row in data.recent) and model.task is Task.CLASSIFICATION:
        return _text(job, data, champion, base, deadline, profile)
    return _sensor(job, data, champion, base, deadline)


def _sensor(
    job: Job, data: Dataset, champion: Model | None, base: Model | None, deadline: float
) -> tuple[Model, Curve]:
    model = job.learner
    features = base.features if base is not None else feature_names(data.training)
    if not features:
        what = "neither text nor values" if model.task is Task.CLASSIFICATION else "no values"
        raise Fatal(f"the events of stream {job.stream!r} have {what} to learn from")

    def inputs(rows: list[Row]) -> Array:
        return matrix(rows, features)

    if model.task is Task.ANOMALY:
        return _anomaly(job, data, base, features, deadline)
    if model.task is Task.REGRESSION:
        return _regression(job, data, base, champion, features, deadline)
    labels = data.labels(base.labels if base is not None else model.labels)
    network = (
        base.network.clone().grow(labels)
        if base is not None
        else _fresh(model.learn.seed, lambda: sensor_classifier(labels, inputs(data.training)))
    )
    _tell_apart(data.training)
    given = _given(job, data, base, _rows(data, labels), labels, inputs)
    network, curve = _learnt(network, given, job, data, base, deadline)
    return Model(model.task, network, features=features), curve


def _anomaly(
    job: Job, data: Dataset, base: Model | None, features: tuple[str, ...], deadline: float
) -> tuple[Model, Curve]:
    learn, values = job.learner.learn, matrix(data.training, features)
    network = base.network.clone() if base else _fresh(learn.seed, lambda: sensor_autoencoder(values))
    enough = len(data.validation) >= _FEWEST_TO_CHECK
    checked = Checked(matrix(data.validation, features), None) if enough else None
    curve = tune(network, values, None, learn, deadline=deadline, checked=checked)
    return Model(Task.ANOMALY, network, features=features), curve


def _regression(
    job: Job, data: Dataset, base: Model | None, champion: Model | None, features: tuple[str, ...],
    deadline: float,
) -> tuple[Model, Curve]:  # fmt: skip
    """Tune a regressor on targets in deviations from their median; its answers are in the target's unit.

    What counts as right is the champion's tolerance, so that versions are compared by one measure.
    """
    learner = job.learner
    if champion is not None:
        data = replayable(data, champion)
    values, truth = matrix(data.training, features), targets(data.training)
    (centre,), (scale,) = robust(truth.reshape(-1, 1))
    if base is not None:
        network = base.network.clone().rescale(-centre / scale, 1 / scale)
    else:
        network = _fresh(learner.learn.seed, lambda: sensor_regressor(values))
    rows = data.validation if len(data.validation) >= _FEWEST_TO_CHECK else []
    checked = Checked(matrix(rows, features), _standard(targets(rows), centre, scale)) if rows else None
    standard = _standard(truth, centre, scale)
    curve = tune(network, values, standard, learner.learn, deadline=deadline, checked=checked)
    network.rescale(centre, scale)
    known = learner.tolerance or (float(champion.network.threshold) if champion else 0.0)
    if known:
        network.tolerate(known)
    else:
        asked = [*data.validation, *data.test]
        errors = np.abs(network.answer(matrix(asked, features)) - targets(asked))
        set_tolerance(network, errors, float(scale))
    if base is not None:
        new = slice(len(data.recent))
        network = blended(network, base.network, learner.learn.blend, values[new], truth[new])
    return Model(Task.REGRESSION, network, features=features), curve


def _text(
    job: Job, data: Dataset, champion: Model | None, base: Model | None, deadline: float, profile: Profile
) -> tuple[Model, Curve]:
    model, home = job.learner, Path(job.home)
    torch.manual_seed(model.learn.seed)
    encoder = champion.encoder if champion is not None else None
    if encoder is None:
        encoder = prepare(home, model.base, max_tokens=model.max_tokens, threads=job.threads)
    labels = data.labels(base.labels if base is not None else model.labels)
    _tell_apart(data.training)
    rows = _rows(data, labels)
    known = encoder
    with profile.step("embedding"):
        given = _given(
            job, data, base, rows, labels, lambda some: known.features([row.text for row in some])
        )  # fmt: skip
        encoder.save()
    width = given.inputs.shape[1]
    head = (
        base.network.clone().grow(labels)
        if base is not None
        else _fresh(model.learn.seed, lambda: text_head(width, labels, given.inputs))
    )
    weights = champion.backbone if champion is not None else None
    # The head first: what lies below it then starts under one that knows the classes.
    head, curve = _learnt(head, given, job, data, base, deadline)
    if model.learn.mode == "head":
        return Model(model.task, head, encoder, backbone=weights), curve
    backbone = Backbone.load(locate(model.base), weights)
    below = _tune_below(backbone, head, encoder, rows, job, data, deadline, given.teacher)
    weights = Path(job.run) / "backbone.safetensors"
    backbone.save(weights)
    encoder = prepare(home, model.base, max_tokens=model.max_tokens, threads=job.threads, weights=weights)
    curve = below._replace(history=curve.history + below.history)
    return Model(model.task, head, encoder, backbone=weights), curve


def _learnt(
    network: Perceptron, given: Given, job: Job, data: Dataset, base: Model | None, deadline: float
) -> tuple[Perceptron, Curve]:
    """Tune a classifier; one that continues goes part of the way back to where it was."""
    learn = job.learner.learn
    curve = tune(
        network, given.inputs, given.truth, learn,
        deadline=deadline, checked=given.checked, teacher=given.teacher,
    )  # fmt: skip
    if base is None:
        return network, curve
    new = slice(len(data.recent))
    return blended(network, base.network, learn.blend, given.inputs[new], given.truth[new]), curve


def _tune_below(
    backbone: Backbone, head: Perceptron, encoder: Encoder, rows: Rows,
    job: Job, data: Dataset, deadline: float, teacher: SoftTargets | None,
) -> Curve:  # fmt: skip
    """Tune what the mode names of the encoder together with the head; a killed run goes on where it was."""
    model, learn = job.learner, job.learner.learn
    recipe = Recipe(
        mode=Mode(learn.mode), top_layers=learn.top_layers, rank=learn.rank,
        epochs=min(learn.epochs, _EPOCHS_BELOW), head_rate=learn.learning_rate, seed=learn.seed,
    )  # fmt: skip
    recipe = under_a_head(recipe)
    every = [*rows.training, *rows.checked]
    ids = Ids(encoder.tokens([row.text for row in every]), 0)
    learner = TextLearner(backbone, head, ids, _truth(every, head.labels), recipe, teacher)
    numbers = list(range(len(every)))
    training, validation = numbers[: len(rows.training)], numbers[len(rows.training) :]
    if not validation:
        training, validation, _ = split(len(every), recipe, tested_apart=True)
    champion = job.champion.sha256 if job.champion else ""
    told = f"{data.range().dataset_sha256} {champion} {model.base} {recipe} {learn.distill}"
    fingerprint = hashlib.sha256(told.encode()).hexdigest()
    # By name, so that what another training left in the folder of a stream's first runs is not in the way.
    checkpoint = Checkpoint(Path(job.run) / f"checkpoint-{fingerprint[:12]}.safetensors", fingerprint)
    recorder = Recorder("encoder")
    run = Run(checkpoint, deadline=deadline, recorder=recorder)
    curve = fit(learner, training, validation, recipe, run)
    checkpoint.remove()
    learner.tuned.merge()
    learner.network.cpu()
    return Curve(curve.train, curve.validation, curve.seconds, recorder.history())


def _rows(data: Dataset, labels: Sequence[str]) -> Rows:
    """Return training rows with their variants, and validation rows of labels that are trained on."""
    checked = [row for row in data.validation if row.label in labels]
    return Rows([*data.training, *data.variants], checked if len(checked) >= _FEWEST_TO_CHECK else [])


def _given(
    job: Job, data: Dataset, base: Model | None, rows: Rows, labels: Sequence[str],
    inputs: Callable[[list[Row]], Array],
) -> Given:  # fmt: skip
    """Return what a network learns from, and what the one that is continued says of it."""
    values = inputs(rows.training)
    checked = Checked(inputs(rows.checked), _truth(rows.checked, labels)) if rows.checked else None
    every = values if checked is None else np.concatenate([values, checked.inputs])
    teacher = soft_targets(base, job.learner.learn, data, [*rows.training, *rows.checked], every)
    return Given(values, _truth(rows.training, labels), checked, teacher)


def _standard(truth: Numbers, centre: float, scale: float) -> Array:
    return ((truth - centre) / scale).astype(np.float32)


def _fresh(seed: int, build: Callable[[], Perceptron]) -> Perceptron:
    torch.manual_seed(seed)
    return build()


def _truth(rows: Sequence[Row], labels: Sequence[str]) -> Indices:
    index = {label: number for number, label in enumerate(labels)}
    return np.array([index[row.label] for row in rows], dtype=np.int64)


def _tell_apart(rows: Sequence[Row]) -> None:
    """Raise where there is nothing to tell apart."""
    if len({row.label for row in rows}) < 2:
        raise Fatal("all labelled rows have one and the same label; a classifier needs at least two")
