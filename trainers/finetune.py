"""The incremental training loop: consumes vectors or readings with their truth, produces a tuned network.

`tune` reads from top to bottom and serves text heads, sensor classifiers and autoencoders; what lies below a
text head is tuned by `trainers.fit`. Seeded; it stops early, at the last epoch, or when its time is up, and
keeps the best weights it saw.
"""

import copy
import time
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from schemas.config import Learn
from trainers.dataset import Array
from trainers.perceptron import Perceptron

Indices = NDArray[np.int64]

_BATCH: Final = 64
_PATIENCE: Final = 5
_VALIDATION: Final = 0.1


class Curve(NamedTuple):
    """The losses of each epoch, and the seconds that training took."""

    train: list[float]
    validation: list[float]
    seconds: float


def class_weights(truth: Tensor, classes: int) -> Tensor:
    """Return (C,) loss weights, the root of inverse frequency: rare classes count, noise does not rule."""
    counts = torch.bincount(truth, minlength=classes).clamp(min=1).float()
    return (counts.sum() / classes / counts).sqrt().clamp(0.25, 8.0)


def tune(
    network: Perceptron, inputs: Array, truth: Indices | None, learn: Learn, *, deadline: float
) -> Curve:
    """Tune `network` in place on (N, F) inputs; `truth` (N,) indexes `network.labels`, None for autoencoders.

    `deadline` is a `time.monotonic()` moment after which no further epoch begins.
    """
    began = time.monotonic()
    torch.manual_seed(learn.seed)
    with torch.no_grad():
        standard = network.standardise(torch.from_numpy(inputs))  # (N, F)
    target = None if truth is None else torch.from_numpy(truth)  # (N,)
    weights = None if target is None else class_weights(target, len(network.labels))

    order = torch.randperm(len(standard))
    held = max(1, int(len(order) * _VALIDATION))
    validation, training = order[:held], order[held:]

    def loss_of(rows: Tensor) -> Tensor:
        if target is None:
            return network.errors(standard[rows]).mean()
        return functional.cross_entropy(network.outputs(standard[rows]), target[rows], weight=weights)

    optimiser = torch.optim.AdamW(network.parameters(), lr=learn.learning_rate)
    curve = Curve([], [], 0.0)
    best, best_loss, waited = copy.deepcopy(network.state_dict()), float("inf"), 0
    for _ in range(learn.epochs):
        network.train()
        losses = []
        for rows in torch.split(training[torch.randperm(len(training))], _BATCH):
            loss = loss_of(rows)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
            optimiser.zero_grad()
            losses.append(loss.item())
        network.eval()
        with torch.no_grad():
            checked = loss_of(validation).item()
        curve.train.append(float(np.mean(losses)))
        curve.validation.append(checked)
        waited += 1
        if checked < best_loss - 1e-4:
            best, best_loss, waited = copy.deepcopy(network.state_dict()), checked, 0
        if waited >= _PATIENCE or time.monotonic() > deadline:
            break
    network.load_state_dict(best)
    if network.kind == "autoencoder":
        set_threshold(network, standard)
    return curve._replace(seconds=time.monotonic() - began)


def set_threshold(network: Perceptron, standard: Tensor) -> None:
    """Put the anomaly threshold at twice the 97 % quantile of the errors on (N, F) rows.

    Nobody labelled the rows: up to 3 % may be anomalies themselves, and must not set the measure.
    """
    with torch.no_grad():
        quantile = torch.quantile(network.errors(standard), 0.97)
        network.threshold.copy_((2.0 * quantile).clamp(min=1e-6))
