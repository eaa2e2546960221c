"""One training, rows to verdict: consumes a Job and its Dataset, produces an Outcome and a release folder.

    dataset -> fine-tune from the champion -> graphs -> examination -> release folder | reasons

It runs in a process of its own (`trainers.job`) or in the caller's (`trainers.bootstrap`, tests).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import torch

from schemas.errors import Fatal
from schemas.release import Manifest, Release, State, Task
from trainers import dossier, export, folders, golden, release
from trainers.augmentation.augmenter import augmenter
from trainers.augmentation.balance import variants
from trainers.backbone import Backbone
from trainers.card import card
from trainers.dataset import Array, Dataset, Row, feature_names, matrix
from trainers.encoder import locate, prepare
from trainers.evaluate import choose_variant, judged_by
from trainers.examine import examine
from trainers.finetune import Checked, Curve, tune, tune_text
from trainers.gate import Verdict
from trainers.model import Model, folder_of, open_model
from trainers.outcome import Job, Outcome
from trainers.outdated import still_true
from trainers.perceptron import Perceptron, sensor_autoencoder, sensor_classifier, text_head

_FEWEST_TO_CHECK: Final = 10
"""Validation rows below which training sets a tenth of its own rows aside."""


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
    kept = golden.load(home, job.model) if champion is not None and stream.gate.golden_rows else None
    data = golden.without(data, kept)
    with profile.step("augmenting"):
        data = augmented(job, data)
    with profile.step("training"):
        candidate, curve = tuned(job, data, champion, deadline, profile)
    with release.building(releases, job.model) as folder:
        with profile.step("export"):
            variants = export.write(folder, candidate.network, candidate.encoder)
        with profile.step("evaluating"):
            judged, asked = _still_true(data, kept, champion)
            kept = kept if asked else None
            rows = [row for part in judged_by(judged) for row in part]
            served, agreement = choose_variant(candidate, rows, stream.gate, job.learner.precision)
            candidate = candidate.at(served)
            version = folders.reserve(home, releases, job.model)
            manifest = release.complete(
                folder, candidate, _mixed(data), draft(job, candidate, data, variants, version)
            )
            examined = examine(folder, manifest, candidate, champion, judged, asked, stream.gate, agreement)
        verdict = examined.verdict
        with profile.step("release"):
            if verdict.released:
                kept = kept or golden.draw(home, job.model, judged, stream.gate.golden_rows)
            manifest = msgspec.structs.replace(
                manifest, metrics=verdict.metrics, golden_set=kept.version if kept else ""
            )
            story = card(job, data, manifest, candidate, examined, parent, curve)
            dossier.describe(folder if verdict.released else Path(job.run), story, curve.history)
            if verdict.released:
                dossier.keep(folder, job, data, kept)
                announced = release.finish(folder, releases, manifest)
            else:
                announced = _rejection(manifest, verdict)
    if candidate.encoder is not None:
        candidate.encoder.save()
    return Outcome(
        release=announced,
        released=verdict.released,
        reasons=verdict.reasons,
        metrics=verdict.metrics,
        slices=examined.slices,
        variants=dict(Counter(row.label for row in data.variants)),
        loss=[loss for loss in curve.train if np.isfinite(loss)],  # JSON has no NaN
        validation_loss=[loss for loss in curve.validation if np.isfinite(loss)],
        learning_rate=job.learner.learn.learning_rate,
        seconds=profile.seconds,
    )


def _still_true(
    data: Dataset, kept: golden.Golden | None, champion: Model | None
) -> tuple[Dataset, golden.Golden | None]:
    """Return old and golden held-out rows without those that recent rows contradict.

    A golden set of which a tenth is contradicted is of a world that is gone: there is none then.
    """
    if champion is None or champion.task is not Task.CLASSIFICATION:
        return data, kept
    if kept is not None:
        rows = still_true(msgspec.structs.replace(data, old_held_out=kept.rows), champion).old_held_out
        gone = len(rows) <= 0.9 * len(kept.rows)
        kept = None if gone else msgspec.structs.replace(kept, rows=rows)
    return still_true(data, champion), kept


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
        enough = len(data.validation) >= _FEWEST_TO_CHECK
        checked = Checked(matrix(data.validation, features), None) if enough else None
        curve = tune(network, values, None, model.learn, deadline=deadline, checked=checked)
        return Model(model.task, network, features=features), curve
    labels = data.labels(base.labels if base is not None else model.labels)
    network = (
        base.network.clone().grow(labels)
        if base is not None
        else _fresh(model.learn.seed, lambda: sensor_classifier(labels, values))
    )
    rows = [*data.training, *data.variants]
    curve = tune(
        network, matrix(rows, features), _truth(rows, network.labels), model.learn, deadline=deadline,
        checked=_checked(data, network.labels, lambda rows: matrix(rows, features)),
    )  # fmt: skip
    return Model(model.task, network, features=features), curve


def _text(
    job: Job, data: Dataset, champion: Model | None, base: Model | None, deadline: float, profile: Profile
) -> tuple[Model, Curve]:
    model, home = job.learner, Path(job.home)
    torch.manual_seed(model.learn.seed)
    encoder = champion.encoder if champion is not None and champion.encoder is not None else None
    if encoder is None:
        encoder = prepare(home, model.base, max_tokens=model.max_tokens, threads=job.threads)
    labels = data.labels(base.labels if base is not None else model.labels)
    rows = [*data.training, *data.variants]
    texts, known = [row.text for row in rows], encoder
    with profile.step("embedding"):
        vectors = encoder.features(texts)
        checked = _checked(data, labels, lambda rows: known.features([row.text for row in rows]))
        encoder.save()
    head = (
        base.network.clone().grow(labels)
        if base is not None
        else _fresh(model.learn.seed, lambda: text_head(vectors.shape[1], labels, vectors))
    )
    truth = _truth(rows, head.labels)
    weights = champion.backbone if champion is not None else None
    # before what is below it
    curve = tune(head, vectors, truth, model.learn, deadline=deadline, checked=checked)
    if model.learn.mode == "head":
        return Model(model.task, head, encoder, backbone=weights), curve
    backbone = Backbone.load(locate(model.base), weights)
    run = Path(job.run)
    curve_of_head = curve
    curve = tune_text(
        backbone, head, encoder.tokens(texts), truth, model.learn, deadline=deadline,
        checkpoint=run / "checkpoint.safetensors",
    )  # fmt: skip
    curve = curve._replace(history=curve_of_head.history + curve.history)
    weights = run / "backbone.safetensors"
    backbone.save(weights)
    tuned_encoder = prepare(
        home, model.base, max_tokens=model.max_tokens, threads=job.threads, weights=weights
    )
    return Model(model.task, head, tuned_encoder, backbone=weights), curve


def _checked(data: Dataset, labels: tuple[str, ...], inputs: Callable[[list[Row]], Array]) -> Checked | None:
    """Return the validation rows of labels that are trained on, if there are enough."""
    rows = [row for row in data.validation if row.label in labels]
    if len(rows) < _FEWEST_TO_CHECK:
        return None
    index = {label: number for number, label in enumerate(labels)}
    return Checked(inputs(rows), np.array([index[row.label] for row in rows], dtype=np.int64))


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


def draft(job: Job, candidate: Model, data: Dataset, variants: dict[str, str], version: int) -> Manifest:
    """Return a candidate's manifest but for its files and what the examination will say."""
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
        tokenizer=candidate.encoder.fingerprint if candidate.encoder else "",
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
