"""The training loops: consume vectors or readings and their truth, produce a tuned network and its losses.

`tune` reads from top to bottom and serves text heads, sensor classifiers and autoencoders; `tune_text` also
tunes the encoder itself (modes `top` and `full`). Seeded; it stops early, at the last epoch, or when its time
is up, and keeps the best weights it saw.
"""

import copy
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from schemas.config import Learn
from trainers.backbone import Backbone
from trainers.dataset import Array
from trainers.encoder import padded
from trainers.history import OUT_OF_TIME, History, Recorder
from trainers.perceptron import Perceptron

Indices = NDArray[np.int64]

_BATCH: Final = 64
_PATIENCE: Final = 5
_VALIDATION: Final = 0.1
_BACKBONE_RATE: Final = 3e-5
_BACKBONE_EPOCHS: Final = 3
_TOP_LAYERS: Final = 2


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
    truth: Indices | None


def tune(
    network: Perceptron,
    inputs: Array,
    truth: Indices | None,
    learn: Learn,
    *,
    deadline: float,
    checked: Checked | None = None,
) -> Curve:
    """Tune `network` in place on (N, F) inputs; `truth` (N,) indexes `network.labels`, None for autoencoders.

    The weights kept are those of the lowest loss on `checked`, which is not trained on; without it, on a
    tenth of the rows. `deadline` is a `time.monotonic()` moment after which no further epoch begins.
    """
    began = time.monotonic()
    torch.manual_seed(learn.seed)
    held = checked or Checked(inputs[:0], None if truth is None else truth[:0])
    with torch.no_grad():
        standard = network.standardise(torch.from_numpy(np.concatenate([inputs, held.inputs])))  # (N + V, F)
    target = None if truth is None or held.truth is None else torch.from_numpy(np.append(truth, held.truth))
    weights = None if truth is None else class_weights(torch.from_numpy(truth), len(network.labels))
    training, validation = _parted(len(inputs), len(held.inputs))

    def loss_of(rows: Tensor) -> Tensor:
        if target is None:
            return network.errors(standard[rows]).mean()
        return functional.cross_entropy(network.outputs(standard[rows]), target[rows], weight=weights)

    optimiser = torch.optim.AdamW(network.parameters(), lr=learn.learning_rate)
    curve, recorder = Curve([], [], 0.0), Recorder("head" if network.kind == "classifier" else "autoencoder")
    best, best_loss, waited = copy.deepcopy(network.state_dict()), float("inf"), 0
    for _ in range(learn.epochs):
        network.train()
        losses = []
        for rows in torch.split(training[torch.randperm(len(training))], _BATCH):
            loss = loss_of(rows)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            losses.append(loss.item())
            recorder.step(losses[-1], optimiser)
            optimiser.step()
            optimiser.zero_grad()
        network.eval()
        with torch.no_grad():
            loss_now = loss_of(validation).item()
        curve.train.append(float(np.mean(losses)))
        curve.validation.append(loss_now)
        recorder.epoch(curve.train[-1], loss_now)
        waited += 1
        if loss_now < best_loss - 1e-4:
            best, best_loss, waited = copy.deepcopy(network.state_dict()), loss_now, 0
        if waited >= _PATIENCE:
            recorder.stopped = "no better for five epochs"
            break
        if time.monotonic() > deadline:
            recorder.stopped = OUT_OF_TIME
            break
    network.load_state_dict(best)
    if network.kind == "autoencoder":
        set_threshold(network, standard[: len(inputs)])
    return curve._replace(seconds=time.monotonic() - began, history=recorder.history())


def _parted(rows: int, checked: int) -> tuple[Tensor, Tensor]:
    """Return the numbers of the rows to train on and of those to check with, the last `checked` of all."""
    if checked:
        return torch.arange(rows), torch.arange(rows, rows + checked)
    order = torch.randperm(rows)
    held = max(1, int(rows * _VALIDATION))
    return order[held:], order[:held]


def set_threshold(network: Perceptron, standard: Tensor) -> None:
    """Put the anomaly threshold at twice the 97 % quantile of the errors on (N, F) rows.

    Nobody labelled the rows: up to 3 % may be anomalies themselves, and must not set the measure.
    """
    with torch.no_grad():
        quantile = torch.quantile(network.errors(standard), 0.97)
        network.threshold.copy_((2.0 * quantile).clamp(min=1e-6))


def tune_text(
    backbone: Backbone,
    head: Perceptron,
    ids: Sequence[Sequence[int]],
    truth: Indices,
    learn: Learn,
    *,
    deadline: float,
    checkpoint: Path,
    progress: Callable[[int, float], None] = lambda _epoch, _loss: None,
) -> Curve:
    """Tune the encoder's top layers (`top`) or all of it (`full`) together with the head, in place.

    After each epoch the weights go to `checkpoint`; a run that was killed goes on from there.
    """
    began = time.monotonic()
    torch.manual_seed(learn.seed)
    done = _restore(checkpoint, backbone, head)
    tuned = backbone.blocks[-_TOP_LAYERS:] if learn.mode == "top" else [backbone]
    backbone.requires_grad_(False)
    parameters = [parameter for part in tuned for parameter in part.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(
        [
            {"params": parameters, "lr": _BACKBONE_RATE},
            {"params": list(head.parameters()), "lr": learn.learning_rate},
        ]
    )
    target = torch.from_numpy(truth)
    weights = class_weights(target, len(head.labels))
    curve, recorder = Curve([], [], 0.0), Recorder("encoder")
    for epoch in range(done, min(learn.epochs, _BACKBONE_EPOCHS)):
        losses = []
        head.train()
        for rows in torch.split(torch.randperm(len(ids)), 32):
            batch = padded([ids[row] for row in rows.tolist()])
            vectors = backbone(
                torch.from_numpy(batch["input_ids"]), torch.from_numpy(batch["attention_mask"])
            )
            loss = functional.cross_entropy(head(vectors), target[rows], weight=weights)
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            losses.append(loss.item())
            recorder.step(losses[-1], optimiser)
            optimiser.step()
            optimiser.zero_grad()
            if time.monotonic() > deadline:
                break
        curve.train.append(float(np.mean(losses)))
        recorder.epoch(curve.train[-1])
        progress(epoch, curve.train[-1])
        _checkpoint(checkpoint, backbone, head, epoch + 1)
        if time.monotonic() > deadline:
            recorder.stopped = OUT_OF_TIME
            break
    head.eval()
    return curve._replace(seconds=time.monotonic() - began, history=recorder.history())


def _checkpoint(path: Path, backbone: Backbone, head: Perceptron, epoch: int) -> None:
    tensors = {f"backbone.{name}": value.contiguous() for name, value in backbone.state_dict().items()}
    tensors |= {f"head.{name}": value.contiguous() for name, value in head.state_dict().items()}
    temporary = path.with_suffix(".tmp")
    save_file(tensors | {"epoch": torch.tensor(epoch)}, temporary)
    temporary.replace(path)


def _restore(path: Path, backbone: Backbone, head: Perceptron) -> int:
    """Load a checkpoint if there is one and return how many epochs it has behind it."""
    if not path.is_file():
        return 0
    tensors = load_file(path)
    for prefix, module in (("backbone.", backbone), ("head.", head)):
        own = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        module.load_state_dict(own)
    return int(tensors["epoch"])
