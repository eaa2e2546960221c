"""Concepts that come back: consumes recent rows and the versions that served before, produces one that fits.

Seasons, shifts and releases return, and what was learnt for them lies in the registry. Whoever keeps earlier
models and asks them first needs no new training (J. Gama and P. Kosina, "Recurrent concepts in data streams
classification", 2014). Judging a version costs its answers to rows whose text vectors are there already; only
the one that fits is examined, as every candidate is.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from scipy.stats import fisher_exact

from schemas.config import Gate
from schemas.release import Manifest, Task
from trainers import folders
from trainers.dataset import Dataset
from trainers.evaluate import right
from trainers.gate import forgotten
from trainers.model import BACKBONE, NETWORK, Model, open_model
from trainers.outcome import Job
from trainers.outdated import contradicted
from trainers.paired import Paired, mcnemar
from trainers.row import Row

_VERSIONS: Final = 5
_BUDGET: Final = 0.1
"""Part of a training's seconds that looking back may take; the versions that served last are asked first."""

_REPLACED: Final = 0.9
_DOUBT: Final = 0.05
"""The p-value below which a version is not as good as the champion was in its best time."""


@dataclass(frozen=True)
class Recalled:
    """An earlier version that fits again: its model, its folder, and what it showed on recent rows."""

    model: Model
    manifest: Manifest
    folder: Path
    shown: Paired

    @property
    def reason(self) -> str:
        """Say why it is brought back."""
        version, since = self.manifest.version, self.manifest.created_at
        return (
            f"brought back: the concept of version {version} ({since:%Y-%m-%d}) is there again, right on"
            f" {self.shown.accuracy:.4f} of {len(self.shown.candidate)} recent rows,"
            f" the champion on {self.shown.champion_accuracy:.4f}"
        )


def recalled(job: Job, data: Dataset, champion: Model, serving: Manifest) -> Recalled | None:
    """Return the version that served before `serving` and fits the recent training rows, the best of them.

    It fits where McNemar's test finds it better than the champion at the gate's significance (shared among
    the versions asked), it is as good as the champion was when that was released, and it loses no more of
    the old rows than the gate allows, those left out that recent ones contradict. A version that people
    rolled back, or that learnt from rows since the drift, is not asked.
    """
    if not job.learner.learn.recall or champion.task is not Task.CLASSIFICATION or job.champion is None:
        return None
    rows = [*data.recent, *data.recent_validation]
    asked = _asked(job, serving, rows)
    ends = time.monotonic() + _BUDGET * job.learner.learn.budget_s
    plain = champion.at("fp32")
    before = right(plain, rows)
    found: list[Recalled] = []
    for manifest, folder in asked:
        if time.monotonic() > ends:
            break
        opened, _ = open_model(folder, Path(job.home), job.threads)
        # One encoder for all: each text is embedded once.
        model = replace(opened, encoder=champion.encoder)
        shown = Paired(right(model.at("fp32"), rows), before)
        found.append(Recalled(model, manifest, folder, shown))
    gate = job.settings.gate
    fitting = [one for one in found if _fits(one.shown, gate, len(found), serving)]
    if not fitting:
        return None
    best = max(fitting, key=lambda one: one.shown.accuracy)
    return None if _forgets(best.model, champion, data, gate) else best


def _asked(job: Job, serving: Manifest, rows: list[Row]) -> list[tuple[Manifest, Path]]:
    """Return the versions to ask, the one that served last first: of one encoder, each network once."""
    releases = Path(job.home) / "releases"
    there = set(folders.versions(releases, job.model))
    since = min(row.time for row in rows)
    known = {serving.files.get(NETWORK)}
    found: list[tuple[Manifest, Path]] = []
    earlier = job.champion.served_before if job.champion else ()
    for version in reversed(earlier):
        if version not in there or len(found) == _VERSIONS:
            continue
        manifest, _ = folders.read_manifest(releases, job.model, version)
        network, span = manifest.files.get(NETWORK), manifest.training
        if network is None or network in known or span is None or span.event_to >= since:
            continue
        if _kind(manifest) == _kind(serving):
            known.add(network)
            found.append((manifest, releases / job.model / str(version)))
    return found


def _kind(manifest: Manifest) -> tuple[object, ...]:
    """Return what two versions must have in common for one encoder, or list of features, to do for both."""
    weights = manifest.files.get(BACKBONE)
    base = (manifest.task, manifest.family, manifest.base, manifest.tokenizer, weights)
    return (*base, manifest.features, manifest.max_tokens)


def _fits(shown: Paired, gate: Gate, asked: int, serving: Manifest) -> bool:
    """Tell whether a version is better than the champion, and as good as that was in its best time.

    As good: Fisher's exact test does not tell its share of right answers from a lower one than what the
    champion showed on its own held-out rows when it was released.
    """
    if mcnemar(shown) >= gate.significance / asked:
        return False
    rows = round(serving.metrics.get("rows_evaluated", 0.0))
    then, now = round(rows * serving.metrics.get("accuracy", 0.0)), int(shown.candidate.sum())
    table = [[now, len(shown.candidate) - now], [then, rows - then]]
    return float(fisher_exact(table, alternative="less").pvalue) >= _DOUBT


def standing(rows: list[Row], old: Sequence[Row]) -> list[Row]:
    """Return what is left of `old` rows without contradicted ones, nothing where that is a tenth or less.

    Another concept has replaced theirs then, and recent rows are too thin to say so of the rest. Only of a
    version that was released once is so little asked: wrong labels look like a new concept, too.
    """
    return rows if len(rows) > (1 - _REPLACED) * len(old) else []


def _forgets(model: Model, champion: Model, data: Dataset, gate: Gate) -> bool:
    """Tell whether it loses too many old rows that are still true: the champion may have learnt them."""
    old = [*data.old, *data.old_validation]
    gone = contradicted(data.recent, old, [], champion)
    rows = standing([row for row, out in zip(old, gone, strict=True) if not out], old)
    pair = Paired(right(model.at("fp32"), rows), right(champion.at("fp32"), rows))
    return bool(forgotten(pair, "old rows", gate))
