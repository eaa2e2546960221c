"""One training, rows to verdict: consumes a Job and its Dataset, produces an Outcome and a release folder.

    dataset -> fine-tune from the champion -> graphs -> examination -> release folder | reasons
            -> an earlier version that fits again     -> examination -> that release, again

It runs in a process of its own (`trainers.job`) or in the caller's (`trainers.bootstrap`, tests).
"""

import importlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import torch

from schemas.release import Manifest, Task
from trainers import dossier, export, folders, golden, release
from trainers.candidate import augmented, tuned
from trainers.card import card
from trainers.dataset import Dataset
from trainers.evaluate import choose_variant, judged_by
from trainers.examine import Examined, examine
from trainers.explain.classes import by_class
from trainers.golden import Golden
from trainers.manifest import Asked, draft, rejection
from trainers.model import Model, folder_of, open_model
from trainers.outcome import Job, Outcome
from trainers.outdated import still_true
from trainers.profile import Profile
from trainers.recall import Recalled, recalled, standing
from trainers.row import Row


def warm() -> None:
    """Load what a training would load in its course: five seconds of a core that no drift then waits for."""
    importlib.import_module("sklearn.metrics")  # the evaluation's
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])  # the first one of a process imports a compiler


def train(job: Job, data: Dataset, listener: Callable[[str], None] = lambda _step: None) -> Outcome:
    """Train, judge and, if the gate lets it, write the release folder; nothing is published here.

    Raises:
        Fatal: the configuration asks for what this trainer does not do, or the champion cannot be opened.
    """
    torch.set_num_threads(job.threads)
    home = Path(job.home)
    deadline = time.monotonic() + 0.7 * job.learner.learn.budget_s
    releases = home / "releases"
    profile = Profile(listener)
    champion, parent = None, None
    if job.champion is not None:
        with profile.step("open_champion"):
            champion, parent = open_model(folder_of(job.champion.uri), home, job.threads)
    kept = golden.load(home, job.model) if champion is not None and job.settings.gate.golden_rows else None
    data = golden.without(data, kept)
    if champion is not None and parent is not None:
        with profile.step("recalling"):
            back = recalled(job, data, champion, parent)
        if back is not None and (outcome := _brought_back(job, data, champion, kept, back, profile)):
            return outcome
    with profile.step("augmenting"):
        data = augmented(job, data)
    with profile.step("training"):
        candidate, curve = tuned(job, data, champion, deadline, profile)
    with release.building(releases, job.model) as folder:
        candidate, manifest, examined = _judged(folder, job, candidate, champion, data, kept, profile)
        verdict = examined.verdict
        with profile.step("explaining"):
            reasons = by_class(candidate, data, sound=verdict.sound)
        with profile.step("release"):
            story = card(job, data, manifest, candidate, examined, parent, curve, reasons)
            dossier.describe(folder if verdict.released else Path(job.run), story, curve.history)
            if verdict.released:
                dossier.keep(folder, job, data, kept)
                announced = release.finish(folder, releases, manifest)
            else:
                announced = rejection(manifest, verdict)
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


def _brought_back(
    job: Job, data: Dataset, champion: Model, kept: Golden | None, back: Recalled, profile: Profile
) -> Outcome | None:
    """Examine an earlier version as a candidate; None where the gate does not let it, and one is trained."""
    home, gate = Path(job.home), job.settings.gate
    with profile.step("evaluating"):
        judged, kept = _still_true(data, kept, champion)
        left = standing(judged.old_held_out, data.old_held_out)
        judged = msgspec.structs.replace(judged, old_held_out=left)
        agreement = None
        if back.model.precision == "int8":
            rows = [row for part in judged_by(judged) for row in part]
            _, agreement = choose_variant(back.model, rows, gate, "int8")
        examined = examine(back.folder, back.manifest, back.model, champion, judged, kept, gate, agreement)
    verdict = examined.verdict
    if not verdict.released:
        return None
    if kept is None:
        golden.draw(home, job.model, judged, gate.golden_rows)
    if back.model.encoder is not None:
        back.model.encoder.save()
    reasons = (back.reason, *verdict.reasons)
    announced = folders.record(home / "releases", job.model, back.manifest.version, reasons)
    return Outcome(
        release=msgspec.structs.replace(announced, alert=job.alert, metrics=verdict.metrics),
        released=True,
        reasons=reasons,
        metrics=verdict.metrics,
        slices=examined.slices,
        seconds=profile.seconds,
        replaces=job.champion.version if job.champion else None,
    )


def _judged(
    folder: Path, job: Job, candidate: Model, champion: Model | None, data: Dataset,
    kept: Golden | None, profile: Profile,
) -> tuple[Model, Manifest, Examined]:  # fmt: skip
    """Write a candidate's folder and examine it; returns the model in the precision that would be served."""
    home, gate = Path(job.home), job.settings.gate
    with profile.step("export"):
        variants = export.write(folder, candidate.network, candidate.encoder)
    with profile.step("evaluating"):
        judged, asked = _still_true(data, kept, champion)
        rows = [row for part in judged_by(judged) for row in part]
        served, agreement = choose_variant(candidate, rows, gate, job.learner.precision)
        candidate = candidate.at(served)
        version = folders.reserve(home, home / "releases", job.model)
        manifest = release.complete(
            folder, candidate, _mixed(data), draft(Asked.by(job), candidate, data, variants, version)
        )
        examined = examine(folder, manifest, candidate, champion, judged, asked, gate, agreement)
    if asked is None:  # there was none, or its world is gone
        released = examined.verdict.released
        kept = golden.draw(home, job.model, judged, gate.golden_rows) if released else None
    manifest = msgspec.structs.replace(
        manifest, metrics=examined.verdict.metrics, golden_set=kept.version if kept else ""
    )
    return candidate, manifest, examined


def _still_true(data: Dataset, kept: Golden | None, champion: Model | None) -> tuple[Dataset, Golden | None]:
    """Return old and golden held-out rows without those that recent rows contradict.

    A golden set of which a tenth is contradicted is of a world that is gone: there is none then.
    """
    if champion is None or champion.task is Task.ANOMALY:
        return data, kept
    if kept is not None:
        rows = still_true(msgspec.structs.replace(data, old_held_out=kept.rows), champion).old_held_out
        gone = len(rows) <= 0.9 * len(kept.rows)
        kept = None if gone else msgspec.structs.replace(kept, rows=rows)
    return still_true(data, champion), kept


def _mixed(data: Dataset) -> list[Row]:
    """Return held-out rows, recent and old by turns."""
    pairs = zip(data.recent_held_out, data.old_held_out, strict=False)
    mixed = [row for pair in pairs for row in pair]
    return mixed + data.recent_held_out[len(mixed) // 2 :]
