"""The incremental training loop: consumes vectors or readings with their truth, produces a tuned network.

`tune` reads from top to bottom and serves text heads, sensor classifiers and autoencoders; what lies below a
text head is tuned by `trainers.fit`. Seeded; it stops early, at the last epoch, or when its time is up, and
keeps the best weights it saw. What is kept is mostly the running mean of the weights, not where the last
steps happened to lead (B. Polyak and A. Juditsky, "Acceleration of stochastic approximation by averaging",
1992): increments then differ from the champion by what they learnt, and less by chance.
"""

import copy
import time
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from schemas.config import Learn
from trainers.dataset import Array
from trainers.distillation import SoftTargets
from trainers.history import OUT_OF_TIME, History, Recorder
from trainers.perceptron import Perceptron

Indices = NDArray[np.int64]
Truth = Indices | Array
"""Classes by number, or the numbers that a regressor learns; (N,)."""

_BATCH: Final = 64
_PATIENCE: Final = 5
_VALIDATION: Final = 0.1
_LAGS: Final = 0.9
"""Part of the running mean's loss that the last weights must be below to be kept in its place."""

_LEAST_GAIN: Final = 1e-4
"""What a loss must fall by to be lower; of numbers, whose noise may be small, as a part of the loss."""

_OF_NUMBERS: Final = 4
"""Epochs that a regressor gets for one of a classifier: a class is there long before a number is exact."""

_USUAL: Final = 0.9
"""Part of a first regressor's answers that are right, by the tolerance that is taken from them."""

_LEAST_TOLERANCE: Final = 1e-6
"""In the target's deviations: answers that are all exact leave no tolerance otherwise."""

_AVERAGED: Final = 0.99
"""What the running mean keeps of itself at each step, once there were steps enough."""


class Curve(NamedTuple):
    """The losses of each epoch, the seconds that training took, and what each step did."""

    train: list[float]
    validation: list[float]
    seconds: float
    history: History = History()


def class_weights(truth: Tensor, classes: int) -> Tensor:
    """Return (C,) loss weights, the root of inverse frequency: rare classes count, noise does not rule."""
    counts = torch.bincount(truth, minlength=classes).clamp(min=1).float()
    return (counts.sum() / classes / counts).sqrt().clamp(0.25, 8.0)


class Checked(NamedTuple):
    """Rows that say when to stop: (V, F) inputs and their (V,) truth, None for autoencoders."""

    inputs: Array
    truth: Truth | None


class _Loss(NamedTuple):
    """The loss of rows by number: `standard` (N + V, F), and of a classifier the classes' weights."""

    standard: Tensor
    target: Tensor
    weights: Tensor | None
    teacher: SoftTargets | None

    @classmethod
    def of(
        cls, network: Perceptron, inputs: Array, truth: Truth | None, held: Checked,
        teacher: SoftTargets | None,
    ) -> "_Loss":  # fmt: skip
        """Return the loss of the rows to train on, and after them of those held out."""
        with torch.no_grad():
            standard = network.standardise(torch.from_numpy(np.concatenate([inputs, held.inputs])))
        if truth is None or held.truth is None:
            return cls(standard, torch.zeros(0), None, None)
        target = torch.from_numpy(np.append(truth, held.truth))
        if network.kind == "regressor":
            return cls(standard, target, None, None)
        weights = class_weights(torch.from_numpy(truth), len(network.labels))
        return cls(standard, target, weights, teacher)

    def __call__(self, network: Perceptron, rows: Tensor) -> Tensor:
        """Return the mean loss of `rows` (B,).

        Of numbers it is Huber's, so that a few labels far out do not rule: squared up to one standard
        deviation, absolute beyond (P. J. Huber, "Robust estimation of a location parameter", 1964).
        """
        if network.kind == "autoencoder":
            return network.errors(self.standard[rows]).mean()
        outputs, target = network.outputs(self.standard[rows]), self.target[rows]
        if self.weights is None:
            return functional.huber_loss(outputs[:, 0], target)
        loss = functional.cross_entropy(outputs, target, weight=self.weights)
        if self.teacher is None:
            return loss
        counts = self.weights[target]
        return loss + self.teacher.loss(outputs, rows, counts) / counts.sum()


def tune(
    network: Perceptron,
    inputs: Array,
    truth: Truth | None,
    learn: Learn,
    *,
    deadline: float,
    checked: Checked | None = None,
    teacher: SoftTargets | None = None,
) -> Curve:
    """Tune `network` in place on (N, F) inputs; `truth` (N,) indexes `network.labels`, None for autoencoders.

    A regressor's is in standard deviations, as float32.

    The weights kept are those of the lowest loss on `checked`, which is not trained on; without it, on a
    tenth of the rows. `deadline` is a `time.monotonic()` moment after which no further epoch begins. A
    classifier is also held to what a `teacher` said of the (N,) rows and then of those `checked`.
    """
    began = time.monotonic()
    torch.manual_seed(learn.seed)
    held = checked or Checked(inputs[:0], None if truth is None else truth[:0])
    loss_of = _Loss.of(network, inputs, truth, held, teacher)
    training, validation = _parted(len(inputs), len(held.inputs))
    optimiser = torch.optim.AdamW(network.parameters(), lr=learn.learning_rate)
    curve, recorder = Curve([], [], 0.0), Recorder("head" if network.kind == "classifier" else network.kind)
    mean, steps = network.clone(), 0
    best, best_loss, waited = copy.deepcopy(network.state_dict()), float("inf"), 0
    for _ in range(_epochs(network, learn)):
        network.train()
        losses = []
        for rows in torch.split(training[torch.randperm(len(training))], _BATCH):
            loss = loss_of(network, rows)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            losses.append(loss.item())
            recorder.step(losses[-1], optimiser)
            optimiser.step()
            optimiser.zero_grad()
            steps += 1
            _average(mean, network, steps)
        network.eval()
        mean.eval()
        with torch.no_grad():
            last, loss_now = loss_of(network, validation).item(), loss_of(mean, validation).item()
        kept = mean
        if last < _LAGS * loss_now:  # each step still helps
            kept, loss_now = network, last
        curve.train.append(float(np.mean(losses)))
        curve.validation.append(loss_now)
        recorder.epoch(curve.train[-1], loss_now)
        waited += 1
        if loss_now < best_loss - _least_gain(network, best_loss):
            best, best_loss, waited = copy.deepcopy(kept.state_dict()), loss_now, 0
        if waited >= _PATIENCE or time.monotonic() > deadline:
            recorder.stopped = "no better for five epochs" if waited >= _PATIENCE else OUT_OF_TIME
            break
    network.load_state_dict(best)
    if network.kind == "autoencoder":
        set_threshold(network, loss_of.standard[: len(inputs)])
    return curve._replace(seconds=time.monotonic() - began, history=recorder.history())


def _epochs(network: Perceptron, learn: Learn) -> int:
    return learn.epochs * (_OF_NUMBERS if network.kind == "regressor" else 1)


def _least_gain(network: Perceptron, loss: float) -> float:
    return _LEAST_GAIN * (min(1.0, loss) if network.kind == "regressor" else 1.0)


def _average(mean: Perceptron, network: Perceptron, steps: int) -> None:
    """Move the running mean towards the weights after so many steps; at first it follows closely."""
    kept = min(_AVERAGED, steps / (steps + 9))
    with torch.no_grad():
        for own, new in zip(mean.parameters(), network.parameters(), strict=True):
            own.lerp_(new, 1 - kept)


def _parted(rows: int, checked: int) -> tuple[Tensor, Tensor]:
    """Return the numbers of the rows to train on and of those to check with, the last `checked` of all."""
    if checked:
        return torch.arange(rows), torch.arange(rows, rows + checked)
    order = torch.randperm(rows)
    held = max(1, int(rows * _VALIDATION))
    return order[held:], order[:held]


def set_tolerance(network: Perceptron, errors: NDArray[Any], scale: float) -> None:
    """Call as near as nine of ten of a regressor's errors (N,) right; `scale` is its target's deviation."""
    network.tolerate(max(float(np.quantile(errors, _USUAL)), _LEAST_TOLERANCE * scale))


def set_threshold(network: Perceptron, standard: Tensor) -> None:
    """Put the anomaly threshold at twice the 97 % quantile of the errors on (N, F) rows.

    Nobody labelled the rows: up to 3 % may be anomalies themselves, and must not set the measure.
    """
    with torch.no_grad():
        quantile = torch.quantile(network.errors(standard), 0.97)
        network.threshold.copy_((2.0 * quantile).clamp(min=1e-6))
