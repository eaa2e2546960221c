"""One training of any task, from rows to a folder: consumes examples and an order, produces files, a report.

    rows -> split -> worth before -> fit, phase by phase -> worth on test rows -> graph, parity -> report

Until the end OUT/checkpoint.safetensors says where the training stands; the same order then goes on from
there.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import torch

from infra.runtime.durable import write
from schemas.errors import Fatal
from trainers.checkpoints import Checkpoint
from trainers.devices import choose
from trainers.fit import Curve, Run, Told, fit
from trainers.recipe import Recipe, split
from trainers.tasks.classification import ClassificationTask
from trainers.tasks.examples import Example, Question, Readings, Tagged, Text
from trainers.tasks.kinds import SENSORS, Kind
from trainers.tasks.sensors import SensorTask, lagged
from trainers.tasks.work import HeadedTask, Rows, Surroundings, Task

CHECKPOINT: Final = "checkpoint.safetensors"
REPORT: Final = "report.json"
SCRATCH: Final = "scratch"
"""The folder of a tuned encoder's graphs: who has handed the model over, or will not, removes it."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for. `window` and `horizon` are a forecast's, in rows; `clusters` a clustering's."""

    kind: Kind
    base: str = ""
    recipe: Recipe = Recipe()
    features: tuple[str, ...] = ()
    window: int = 16
    horizon: int = 1
    clusters: int = 8


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an order; `metrics` are of the test rows, `before` of the same before training."""

    task: Kind
    base: str
    mode: str
    rows: dict[str, int]
    before: dict[str, float]
    metrics: dict[str, float]
    export: dict[str, float]
    losses: list[float]
    validation_losses: list[float]
    kept_epoch: int
    seconds: dict[str, float]
    device: str
    weights: dict[str, int]
    model: dict[str, Any]
    recipe: Recipe


@dataclass
class Watcher:
    """Who hears of a training, and may stop it after a step.

    `epoch` hears, after each epoch of the last phase, by which value it is compared with the others.
    """

    tell: Callable[[str, int, int, float], None] = lambda _step, _done, _total, _loss: None
    stop: Callable[[], bool] = lambda: False
    every_s: float = 30.0
    epoch: Callable[[int, float], None] = lambda _epoch, _value: None


@dataclass
class Trained:
    """A report and the task that it is of, for who wants to hand the model over."""

    report: Report
    task: Task
    rows: Rows
    examples: Sequence[Example] = field(default_factory=tuple)


def train(
    order: Order,
    examples: Sequence[Example],
    tests: Sequence[Example],
    out: Path,
    around: Surroundings,
    watcher: Watcher,
) -> Trained:
    """Train what is asked for and write it to `out`; goes on from the checkpoint there, if there is one.

    Raises:
        Interrupted: the watcher stopped it; the checkpoint is in `out`.
        Fatal: the data or the order cannot be learnt from, the graph is not what was trained, or the
            checkpoint is of another training.
    """
    torch.set_num_threads(around.threads)
    began = time.monotonic()
    task, rows, every = _begun(order, examples, tests, around, watcher)
    before = task.before(rows.test)
    prepared = time.monotonic()
    checkpoint = Checkpoint(out / CHECKPOINT, fingerprint(order, every))
    curve, weights = _fit(task, checkpoint, watcher)
    scratch = out / SCRATCH
    scratch.mkdir(exist_ok=True)
    task.finish(scratch)
    fitted = time.monotonic()
    metrics = task.metrics(rows.test)
    exported = task.export(out)
    report = Report(
        task=order.kind,
        base=order.base if order.kind not in SENSORS else "perceptron",
        mode=order.recipe.mode.value,
        rows={name: len(getattr(rows, name)) for name in Rows._fields},
        before=before,
        metrics=metrics,
        export=exported,
        losses=curve.train,
        validation_losses=curve.validation,
        kept_epoch=curve.kept,
        seconds={
            "preparing": round(prepared - began, 3),
            "training": round(curve.seconds or fitted - prepared, 3),
            "exporting": round(time.monotonic() - fitted, 3),
        },
        device=choose().name,
        weights=weights,
        model=task.describe() | _read(order),
        recipe=order.recipe,
    )
    write(out / REPORT, report)
    checkpoint.remove()
    return Trained(report, task, rows, every)


def validate(
    order: Order,
    examples: Sequence[Example],
    tests: Sequence[Example],
    around: Surroundings,
    watcher: Watcher,
) -> Curve:
    """Fit as `train` does, on the same rows, and return the last phase's curve; nothing is written.

    Raises:
        Interrupted: the watcher stopped it.
        Fatal: the data or the order cannot be learnt from.
    """
    torch.set_num_threads(around.threads)
    task, _, _ = _begun(order, examples, tests, around, watcher)
    curve, _ = _fit(task, None, watcher)
    return curve


def _begun(
    order: Order,
    examples: Sequence[Example],
    tests: Sequence[Example],
    around: Surroundings,
    watcher: Watcher,
) -> tuple[Task, Rows, list[Example]]:
    """Split the rows and make the task: what comes before the first step."""
    if order.kind is Kind.FORECAST:
        examples, tests = _windows(order, examples), _windows(order, tests) if tests else tests
    rows = _rows(order, len(examples), len(tests))
    every = [*examples, *tests]
    around = around._replace(
        tell=lambda step, done, total: watcher.tell(step, done, total, float("nan")), stop=watcher.stop
    )
    return _task(order, every, rows, around), rows, every


def fingerprint(order: Order, examples: Sequence[Example]) -> str:
    """Return what tells a training apart: everything that its result depends on."""
    digest = hashlib.sha256(msgspec.json.encode(order))
    digest.update(msgspec.json.encode(examples))
    return digest.hexdigest()


def _read(order: Order) -> dict[str, object]:
    """Return how rows become a forecast's windows, for who applies the model to a file."""
    if order.kind is not Kind.FORECAST:
        return {}
    return {"readings": order.features, "window": order.window, "horizon": order.horizon}


def _fit(task: Task, checkpoint: Checkpoint | None, watcher: Watcher) -> tuple[Curve, dict[str, int]]:
    """Fit all phases; returns the last one's curve and how many weights there are and how many learnt."""
    curve, weights = Curve([], [], -1, 0.0), {"all": 0, "tuned": 0}
    for phase in task.phases():
        name = "training" if phase.last else "head"

        def listener(told: Told, name: str = name) -> None:
            watcher.tell(name, told.done, told.total, told.loss)

        run = Run(checkpoint if phase.last else None, watcher.every_s, listener, watcher.stop)
        if phase.last:
            run.epoch = watcher.epoch
        parameters = list(phase.learner.network.parameters())
        weights = {
            "all": sum(weight.numel() for weight in parameters),
            "tuned": sum(weight.numel() for weight in parameters if weight.requires_grad),
        }
        curve = fit(phase.learner, phase.training, phase.validation, phase.recipe, run)
    return curve, weights


def _rows(order: Order, known: int, tests: int) -> Rows:
    """Split the rows; those of a forecast in order of time, the test's last."""
    training, validation, test = split(known, order.recipe, tested_apart=tests > 0)
    if order.kind is Kind.FORECAST:
        ordered = list(range(known))
        first, second = len(training), len(training) + len(validation)
        training, validation, test = ordered[:first], ordered[first:second], ordered[second:]
    return Rows(training, validation, list(range(known, known + tests)) if tests else test)


def _windows(order: Order, examples: Sequence[Example]) -> list[Readings]:
    """Make each row of a forecast the readings before a moment, and its target."""
    import numpy as np

    readings = cast("Sequence[Readings]", examples)
    series = np.array([example.values for example in readings], dtype=np.float32)
    target = np.array([example.target for example in readings], dtype=np.float32)
    values, wanted = lagged(series, target, order.window, order.horizon)
    return [Readings(tuple(row), "", t) for row, t in zip(values.tolist(), wanted.tolist(), strict=True)]


def _task(order: Order, examples: Sequence[Any], rows: Rows, around: Surroundings) -> Task:
    kind, base, recipe = order.kind, order.base, order.recipe
    _typed(kind, examples)
    if kind in SENSORS:
        names = order.features
        if kind is Kind.FORECAST:
            moments = [at - order.window + 1 for at in range(order.window)]
            names = tuple(f"{name}[{moment}]" for name in names for moment in moments)
        return SensorTask(kind, names, examples, rows, recipe)
    if kind is Kind.CLASSIFICATION:
        return ClassificationTask(base, examples, rows, recipe, around)
    if kind is Kind.CLUSTERING:
        from trainers.tasks.clusters import ClusteringTask

        return ClusteringTask(base, examples, rows, recipe, around, order.clusters)
    from trainers.tasks.answers import AnswerLearner
    from trainers.tasks.language import CausalLearner, MaskedLearner
    from trainers.tasks.tokens import TokenLearner

    learners = {
        Kind.TOKENS: TokenLearner,
        Kind.QA: AnswerLearner,
        Kind.MLM: MaskedLearner,
        Kind.CLM: CausalLearner,
    }
    return HeadedTask(learners[kind](base, examples, recipe), rows, recipe)


def _typed(kind: Kind, examples: Sequence[Any]) -> None:
    wanted = {Kind.TOKENS: Tagged, Kind.QA: Question}.get(kind, Readings if kind in SENSORS else Text)
    if not all(isinstance(example, wanted) for example in examples):
        raise Fatal(f"{kind} learns from {wanted.__name__} rows")
