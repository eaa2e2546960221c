"""One training, rows to verdict: consumes a Job and its Dataset, produces an Outcome and a release folder.

    dataset -> fine-tune from the champion -> graphs -> evidence -> gate -> release folder | reasons

It runs in a process of its own (`trainers.job`) or in the caller's (`trainers.bootstrap`, tests).
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import torch

from schemas.errors import Fatal
from schemas.release import Manifest, Release, State, Task
from trainers import export, folders, release
from trainers.backbone import Backbone
from trainers.checkpoints import Checkpoint
from trainers.dataset import Dataset, Row, feature_names, matrix
from trainers.encoder import locate, prepare
from trainers.evaluate import measure
from trainers.finetune import Curve, Indices, tune
from trainers.fit import Run, fit
from trainers.gate import Verdict, judge
from trainers.model import Model, folder_of, open_model
from trainers.outcome import Job, Outcome
from trainers.perceptron import Perceptron, sensor_autoencoder, sensor_classifier, text_head
from trainers.recipe import Mode, Recipe, split
from trainers.tasks.texts import Ids, TextLearner, under_a_head

_EPOCHS_BELOW: Final = 3
"""Epochs of what lies below the head: it is pretrained and needs few."""


class Profile:
    """Seconds of each step, and who wants to hear of it."""

    def __init__(self, listener: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._listener = listener

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step."""
        self._listener(name)
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 3)


def train(job: Job, data: Dataset, listener: Callable[[str], None] = lambda _step: None) -> Outcome:
    """Train, judge and, if the gate lets it, write the release folder; nothing is published here.

    Raises:
        Fatal: the configuration asks for what this trainer does not do, or the champion cannot be opened.
    """
    torch.set_num_threads(job.threads)
    stream, home = job.settings, Path(job.home)
    deadline = time.monotonic() + 0.7 * job.learner.learn.budget_s
    releases = home / "releases"
    profile = Profile(listener)
    champion, parent = None, None
    if job.champion is not None:
        with profile.step("open_champion"):
            champion, parent = open_model(folder_of(job.champion.uri), home, job.threads)
    with profile.step("training"):
        candidate, curve = tuned(job, data, champion, deadline, profile)
    with release.building(releases, job.model) as folder:
        with profile.step("export"):
            variants = export.write(folder, candidate.network, candidate.encoder)
        with profile.step("evaluating"):
            evidence = measure(
                candidate, champion, folder, variants, data, stream.gate, job.learner.precision
            )
            verdict = judge(evidence, stream.gate)
        candidate = candidate.at(evidence.serve)
        version = folders.reserve(home, releases, job.model)
        manifest = _manifest(job, candidate, data, variants, verdict, version)
        with profile.step("release"):
            announced = (
                release.finish(folder, releases, candidate, _mixed(data), manifest, parent)
                if verdict.released
                else _rejection(manifest, verdict)
            )
    if candidate.encoder is not None:
        candidate.encoder.save()
    return Outcome(
        release=announced,
        released=verdict.released,
        reasons=verdict.reasons,
        metrics=verdict.metrics,
        loss=curve.train,
        validation_loss=curve.validation,
        learning_rate=job.learner.learn.learning_rate,
        seconds=profile.seconds,
    )


def tuned(
    job: Job, data: Dataset, champion: Model | None, deadline: float, profile: Profile
) -> tuple[Model, Curve]:
    """Return a candidate tuned on the dataset, continuing from the champion unless the job starts afresh."""
    model = job.learner
    base = None if job.fresh else champion
    if any(row.text for row in data.recent) and model.task is Task.CLASSIFICATION:
        return _text(job, data, champion, base, deadline, profile)
    return _sensor(job, data, base, deadline)


def _sensor(job: Job, data: Dataset, base: Model | None, deadline: float) -> tuple[Model, Curve]:
    model = job.learner
    features = base.features if base is not None else feature_names(data.training)
    if not features:
        raise Fatal(f"the events of stream {job.stream!r} have neither text nor values to learn from")
    values = matrix(data.training, features)
    if model.task is Task.ANOMALY:
        network = (
            base.network if base is not None else _fresh(model.learn.seed, lambda: sensor_autoencoder(values))
        )
        network = network.clone()
        return Model(model.task, network, features=features), tune(
            network, values, None, model.learn, deadline=deadline
        )
    labels = data.labels(base.labels if base is not None else model.labels)
    network = (
        base.network.clone().grow(labels)
        if base is not None
        else _fresh(model.learn.seed, lambda: sensor_classifier(labels, values))
    )
    curve = tune(network, values, _truth(data.training, network.labels), model.learn, deadline=deadline)
    return Model(model.task, network, features=features), curve


def _text(
    job: Job, data: Dataset, champion: Model | None, base: Model | None, deadline: float, profile: Profile
) -> tuple[Model, Curve]:
    model, home = job.learner, Path(job.home)
    torch.manual_seed(model.learn.seed)
    encoder = champion.encoder if champion is not None and champion.encoder is not None else None
    if encoder is None:
        encoder = prepare(home, model.base, max_tokens=model.max_tokens, threads=job.threads)
    texts = [row.text for row in data.training]
    with profile.step("embedding"):
        vectors = encoder.features(texts)
        encoder.save()
    labels = data.labels(base.labels if base is not None else model.labels)
    head = (
        base.network.clone().grow(labels)
        if base is not None
        else _fresh(model.learn.seed, lambda: text_head(vectors.shape[1], labels, vectors))
    )
    truth = _truth(data.training, head.labels)
    weights = champion.backbone if champion is not None else None
    curve = tune(head, vectors, truth, model.learn, deadline=deadline)  # before what is below it
    if model.learn.mode == "head":
        return Model(model.task, head, encoder, backbone=weights), curve
    backbone = Backbone.load(locate(model.base), weights)
    run = Path(job.run)
    curve = _tune_below(backbone, head, encoder.tokens(texts), truth, job, data, deadline)
    weights = run / "backbone.safetensors"
    backbone.save(weights)
    tuned_encoder = prepare(
        home, model.base, max_tokens=model.max_tokens, threads=job.threads, weights=weights
    )
    return Model(model.task, head, tuned_encoder, backbone=weights), curve


def _tune_below(
    backbone: Backbone, head: Perceptron, ids: Sequence[Sequence[int]], truth: Indices,
    job: Job, data: Dataset, deadline: float,
) -> Curve:  # fmt: skip
    """Tune what the mode names of the encoder together with the head; a killed run goes on where it was."""
    model, learn = job.learner, job.learner.learn
    recipe = Recipe(
        mode=Mode(learn.mode), top_layers=learn.top_layers, rank=learn.rank,
        epochs=min(learn.epochs, _EPOCHS_BELOW), head_rate=learn.learning_rate, seed=learn.seed,
    )  # fmt: skip
    recipe = under_a_head(recipe)
    learner = TextLearner(backbone, head, Ids(ids, 0), truth, recipe)
    training, validation, _ = split(len(ids), recipe, tested_apart=True)
    champion = job.champion.sha256 if job.champion else ""
    told = f"{data.range().dataset_sha256} {champion} {model.base} {recipe}"
    fingerprint = hashlib.sha256(told.encode()).hexdigest()
    # By name, so that what another training left in the folder of a stream's first runs is not in the way.
    checkpoint = Checkpoint(Path(job.run) / f"checkpoint-{fingerprint[:12]}.safetensors", fingerprint)
    curve = fit(learner, training, validation, recipe, Run(checkpoint, deadline=deadline))
    checkpoint.remove()
    learner.tuned.merge()
    learner.network.cpu()
    return Curve(curve.train, curve.validation, curve.seconds)


def _fresh(seed: int, build: Callable[[], Perceptron]) -> Perceptron:
    torch.manual_seed(seed)
    return build()


def _truth(rows: list[Row], labels: tuple[str, ...]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    index = {label: number for number, label in enumerate(labels)}
    if len({row.label for row in rows}) < 2:
        raise Fatal("all labelled rows have one and the same label; a classifier needs at least two")
    return np.array([index[row.label] for row in rows], dtype=np.int64)


def _mixed(data: Dataset) -> list[Row]:
    """Return held-out rows, recent and old by turns."""
    pairs = zip(data.recent_held_out, data.old_held_out, strict=False)
    mixed = [row for pair in pairs for row in pair]
    return mixed + data.recent_held_out[len(mixed) // 2 :]


def _manifest(
    job: Job, candidate: Model, data: Dataset, variants: dict[str, str], verdict: Verdict, version: int
) -> Manifest:
    network, model = candidate.network, job.learner
    text = candidate.encoder is not None
    centre, scale = network.centre.tolist(), network.scale.tolist()
    return Manifest(
        model=job.model,
        version=version,
        stream=job.stream,
        task=candidate.task,
        family="text" if text else "sensor",
        base=(model.base or "minilm") if text else f"perceptron-{network.kind}",
        labels=network.labels,
        features=candidate.features,
        max_tokens=candidate.encoder.max_tokens if candidate.encoder else 0,
        variants=variants,
        serve=candidate.precision,
        normaliser={}
        if text
        else {
            "median": dict(zip(candidate.features, centre, strict=True)),
            "scale": dict(zip(candidate.features, scale, strict=True)),
        },
        thresholds={"anomaly": 1.0} if candidate.task is Task.ANOMALY else {},
        metrics=verdict.metrics,
        parent=job.champion.version if job.champion else None,
        alert=job.alert,
        training=data.range(),
        created_at=datetime.now(UTC),
        files={},
    )


def _rejection(manifest: Manifest, verdict: Verdict) -> Release:
    return Release(
        model=manifest.model,
        stream=manifest.stream,
        version=manifest.version,
        uri="",
        sha256="",
        state=State.REJECTED,
        parent=manifest.parent,
        alert=manifest.alert,
        metrics=verdict.metrics,
        training=manifest.training,
        reasons=verdict.reasons,
        created_at=manifest.created_at,
    )
