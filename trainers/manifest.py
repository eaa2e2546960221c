"""What is written about a candidate: consumes model and dataset, produces its manifest or its rejection."""

from datetime import UTC, datetime
from typing import NamedTuple, Self

from schemas.release import Manifest, Release, State, Task
from trainers.dataset import Dataset
from trainers.gate import Verdict
from trainers.model import Model
from trainers.outcome import Job


class Asked(NamedTuple):
    """Which model was asked for: its name, its stream, its text base, what it continues from, and by whom."""

    model: str
    stream: str
    base: str = ""
    parent: int | None = None
    alert: str | None = None

    @classmethod
    def by(cls, job: Job) -> Self:
        """Return what a job asks for."""
        champion = job.champion.version if job.champion else None
        return cls(job.model, job.stream, job.learner.base, champion, job.alert)


def draft(
    asked: Asked, candidate: Model, data: Dataset, variants: dict[str, str], version: int
) -> Manifest:  # fmt: skip
    """Return a candidate's manifest but for its files and what the examination will say."""
    network = candidate.network
    text = candidate.encoder is not None
    centre, scale = network.centre.tolist(), network.scale.tolist()
    return Manifest(
        model=asked.model,
        version=version,
        stream=asked.stream,
        task=candidate.task,
        family="text" if text else "sensor",
        base=(asked.base or "minilm") if text else f"perceptron-{network.kind}",
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
        thresholds=_thresholds(candidate),
        tokenizer=candidate.encoder.fingerprint if candidate.encoder else "",
        parent=asked.parent,
        alert=asked.alert,
        training=data.range(),
        created_at=datetime.now(UTC),
        files={},
    )


def _thresholds(candidate: Model) -> dict[str, float]:
    if candidate.task is Task.ANOMALY:
        return {"anomaly": 1.0}
    return {"tolerance": float(candidate.network.threshold)} if candidate.task is Task.REGRESSION else {}


def rejection(manifest: Manifest, verdict: Verdict) -> Release:
    """Return what announces a candidate that is not released, with every reason."""
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
