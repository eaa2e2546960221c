"""The trainer's own loop on each device: consumes a subject's rows, produces speed, losses and parity.

All weights of the base and a head are tuned as `headrace train --mode full` tunes them, by the same rows in
the same order; what was tuned is then exported and compared with its graphs by the task itself.
"""

import math
import os
import time
from typing import Final

import msgspec
import numpy as np
import torch

from infra.bench.devices.plan import DevicesPlan, Subject
from infra.bench.stack import Say
from trainers.devices import Device, choose
from trainers.fit import Curve, Run, Told, fit
from trainers.recipe import Mode, Recipe, split
from trainers.tasks.classification import ClassificationTask
from trainers.tasks.examples import Text
from trainers.tasks.work import Rows, Surroundings

_WARM: Final = 5
"""Steps that do not count: the first ones load kernels."""


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """One device's training of `steps` steps; `losses` are the means of tenths of them, in order.

    `export_s` is what making the graphs took, `parity` their largest difference from the network,
    `accuracy` that of the rows that were not learnt from.
    """

    precision: str
    steps: int
    steps_per_s: float
    rows_per_s: float
    losses: list[float]
    validation: list[float]
    memory_bytes: int
    export_s: float
    parity: dict[str, float]
    accuracy: float


def devices() -> list[Device]:
    """Return the processor, and the device that the trainer would choose where that is another."""
    chosen = choose()
    return [Device("cpu")] if chosen.name == "cpu" else [Device("cpu"), chosen]


def tuned(subject: Subject, plan: DevicesPlan, say: Say) -> dict[str, Tuned]:
    """Train on each device and return what came of it, by the device's name."""
    torch.set_num_threads(os.cpu_count() or 1)
    told = {}
    for device in devices():
        told[device.name] = one = _trained(subject, plan, device)
        say(
            f"training on {device.name} in {one.precision}: {one.steps_per_s:.2f} steps/s, "
            f"loss {one.losses[0]:.3f} to {one.losses[-1]:.3f}, accuracy {one.accuracy:.4f}"
        )
    return told


def _trained(subject: Subject, plan: DevicesPlan, device: Device) -> Tuned:
    scratch = plan.home / f"tuned-{device.name}"
    (scratch / "graphs").mkdir(parents=True)
    examples = [Text(row.text, row.label) for row in subject.rows]
    recipe = _recipe(len(examples), plan)
    rows = Rows(*split(len(examples), recipe))
    around = Surroundings(plan.home, os.cpu_count() or 1)
    task = ClassificationTask(subject.manifest.base, examples, rows, recipe, around)
    moments: list[float] = []
    losses: list[float] = []

    def listen(step: Told) -> None:  # the loss has been read, so the device is done with the step
        moments.append(time.perf_counter())
        losses.append(step.loss)

    curve = Curve([], [], -1, 0.0)
    for phase in task.phases():
        run = Run(listener=listen, device=device) if phase.last else Run(device=device)
        curve = fit(phase.learner, phase.training, phase.validation, phase.recipe, run)
    memory = torch.cuda.max_memory_allocated() if device.name == "cuda" else 0
    began = time.perf_counter()
    task.finish(scratch)
    parity = task.export(scratch / "graphs")
    took = time.perf_counter() - began
    per_s = 1.0 / float(np.median(np.diff(moments)[_WARM:]))  # by the median: an epoch's end is no step
    return Tuned(
        precision=str(device.precision).removeprefix("torch."),
        steps=len(losses), steps_per_s=round(per_s, 3), rows_per_s=round(per_s * recipe.batch, 1),
        losses=[round(float(np.mean(part)), 4) for part in np.array_split(losses, 10)],
        validation=[round(value, 4) for value in curve.validation],
        memory_bytes=memory, export_s=round(took, 2), parity=parity,
        accuracy=round(task.metrics(rows.test)["accuracy"], 4),
    )  # fmt: skip


def _recipe(rows: int, plan: DevicesPlan) -> Recipe:
    """Return a training of all weights with epochs enough for the steps that are wanted."""
    recipe = Recipe(mode=Mode.FULL, seed=plan.seed)
    training, _, _ = split(rows, recipe)
    epochs = math.ceil(max(plan.steps, 2 * _WARM) * recipe.batch / len(training))
    return msgspec.structs.replace(recipe, epochs=epochs, patience=epochs)
