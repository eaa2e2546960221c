"""Points lost on old data after five increments: consumes arriving streams, produces what each way forgets.

Every increment goes the trainer's own way, `trainers.memory` and `trainers.pipeline.train`, from release to
release. Variants are compared behind an open gate, so that each has to live with what it learnt; one run with
the gate as it is by default says how many of the increments it lets through.
"""

import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from infra.bench.train.arriving import Arriving
from schemas.config import Stream
from schemas.errors import Fatal
from schemas.release import Release
from trainers.evaluate import right
from trainers.memory import Memory, Origin
from trainers.model import folder_of, open_model
from trainers.outcome import Job, Outcome
from trainers.pipeline import train
from trainers.row import Row

GOAL: Final = 0.6
"""Points that five increments may forget: what LoRA was published to forget, where full tuning lost 19.9."""

OURS: Final = "ours"
_OPEN: Final = {
    "min_gain": -0.99,
    "max_forgetting": 1.0,
    "golden_rows": 0,
    "min_agreement": 0.0,
    "p99_ms": 1e6,
}
_OFF: Final = {"distill": 0.0, "blend": 0.0, "recall": False}

VARIANTS: Final[dict[str, dict[str, Any]]] = {
    OURS: {"recall": False},
    "ours, default gate": {},
    "replay and distillation": {"recall": False, "blend": 0.0},
    "replay only": _OFF,
    "distillation only": {"recall": False, "replay": 0, "blend": 0.0},
    "naive": {**_OFF, "replay": 0},
    "joint": _OFF,
}
"""Settings of `[streams.NAME.model.learn]`. `joint` is trained from scratch on all rows so far, each time."""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one stream under one variant, in points of accuracy on held-out rows.

    `accuracies[j][i]` is of part i after part j. `forgetting` is the mean over all parts but the last of the
    best accuracy before the last increment less that at the end (A. Chaudhry et al., "Riemannian walk for
    incremental learning", 2018); `dropped` is what the rows of these parts lost together since each was new.
    `accuracy` is of all parts at the end, `newest` the mean of each increment's own part when it was new.
    """

    task: str
    variant: str
    seed: int
    accuracies: list[list[float]]
    forgetting: float
    dropped: float
    accuracy: float
    newest: float
    released: int
    reasons: list[str]
    seconds: float


def course(stream: Arriving, variant: str, home: Path) -> Course:
    """Let a stream arrive under a variant; what it releases is measured and removed."""
    began = time.monotonic()
    name = f"{stream.name}-{stream.seed}-{variant.replace(', ', '-').replace(' ', '-')}"
    gate = {} if "gate" in variant else _OPEN
    learn = {"seed": stream.seed, **VARIANTS[variant]}
    config = Stream.model_validate(
        {"kind": stream.kind, "model": {"name": name, "learn": learn}, "gate": gate}
    )
    run = home / "trainer" / "runs" / name
    run.mkdir(parents=True, exist_ok=True)
    memory, serving = Memory(), None
    table: list[list[float]] = []
    told: list[Outcome | str] = []
    for number, part in enumerate(stream.parts):
        job = Job(
            home=str(home), stream=stream.name, config=config.model_dump_json(), run=str(run),
            champion=serving, fresh=variant == "joint",
        )  # fmt: skip
        told.append(_increment(job, memory, part.rows))
        outcome = told[-1]
        if isinstance(outcome, Outcome) and outcome.released:
            serving = outcome.release
        table.append([100 * share for share in _accuracies(serving, stream, number, home)])
    shutil.rmtree(home / "releases" / name, ignore_errors=True)
    increments = told[1:]
    sizes = [len(part.held_out) for part in stream.parts]
    return Course(
        task=stream.name,
        variant=variant,
        seed=stream.seed,
        accuracies=[[round(value, 2) for value in row] for row in table],
        forgetting=round(forgetting(table), 3),
        dropped=round(dropped(table, sizes), 3),
        accuracy=round(float(np.average(table[-1], weights=sizes)), 3),
        newest=round(float(np.mean([row[-1] for row in table[1:]])), 3),
        released=sum(isinstance(one, Outcome) and one.released for one in increments),
        reasons=[one if isinstance(one, str) else "; ".join(one.reasons) for one in increments],
        seconds=round(time.monotonic() - began, 1),
    )


def forgetting(table: list[list[float]]) -> float:
    """Return the mean over all parts but the last of the best accuracy before less that at the end."""
    *before, last = table
    lost = [max(row[part] for row in before if len(row) > part) - last[part] for part in range(len(before))]
    return float(np.mean(lost))


def dropped(table: list[list[float]], sizes: list[int]) -> float:
    """Return what all parts but the last, of so many rows each, lost together since each was new."""
    last = table[-1]
    lost = [table[part][part] - last[part] for part in range(len(table) - 1)]
    return float(np.average(lost, weights=sizes[: len(lost)]))


def run(home: Path, streams: Iterable[Arriving], tell: Callable[[Course], None]) -> dict[str, Any]:
    """Let every stream arrive under every variant and return the figures."""
    done = []
    for stream in streams:
        for variant in VARIANTS:
            done.append(course(stream, variant, home))
            tell(done[-1])
    return figures(done)


def figures(courses: Iterable[Course]) -> dict[str, Any]:
    """Return mean and standard deviation over seeds of each variant, task by task, and every course.

    `forgetting` is the worst task's mean of what is released by default settings.
    """
    every = list(courses)
    tasks: dict[str, Any] = {}
    for task in dict.fromkeys(one.task for one in every):
        tasks[task] = {}
        for variant in dict.fromkeys(one.variant for one in every):
            those = [one for one in every if (one.task, one.variant) == (task, variant)]
            spread = {
                name: {"mean": round(float(np.mean(values)), 3), "sd": round(float(np.std(values)), 3)}
                for name in ("forgetting", "dropped", "accuracy", "newest", "seconds")
                for values in [[getattr(one, name) for one in those]]
            }
            released = {"released": sum(one.released for one in those), "increments": 5 * len(those)}
            tasks[task][variant] = {**spread, **released, "seeds": len(those)}
    worst = max((tasks[task][OURS]["forgetting"]["mean"] for task in tasks), default=0.0)
    return {"forgetting": worst, "tasks": tasks, "courses": every}


def _increment(job: Job, memory: Memory, rows: list[Row]) -> Outcome | str:
    """Train on what arrived and on what is replayed; what cannot be trained on leaves the model as it is."""
    since = rows[0].time if job.champion is not None else None
    try:
        data = memory.dataset(job.learner.learn, rows, [], since, Origin(stream=job.stream))
        return train(job, data)
    except Fatal as error:
        return str(error)


def _accuracies(serving: Release | None, stream: Arriving, newest: int, home: Path) -> list[float]:
    """Return the share of right answers to the held-out rows of each part so far, as they would be served."""
    if serving is None:
        raise Fatal(f"the first model of {stream.name} was rejected")
    model, _ = open_model(folder_of(serving.uri), home, threads=1)
    found = [float(right(model, part.held_out).mean()) for part in stream.parts[: newest + 1]]
    if model.encoder is not None:
        model.encoder.save()
    return found
