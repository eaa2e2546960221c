"""The network that increments tune: consumes text vectors or raw readings, produces logits or a score.

One class serves the text head, the sensor classifier and the sensor autoencoder: robust standardisation kept
with the weights, then linear layers with ReLU between. Its weights travel in a release as safetensors.
"""

import copy
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from schemas.errors import Fatal
from trainers.dataset import Array

Kind = Literal["classifier", "regressor", "autoencoder"]

_MAD_TO_SIGMA: Final = 1.4826
_INNER_90_SIGMAS: Final = 3.29
"""Median absolute deviation to standard deviation, for a normal distribution."""


class Perceptron(nn.Module):
    """Standardise, then `sizes[0] -> sizes[1] -> …`; logits (B, C), numbers (B,), or scores (B,).

    A reading that is missing (NaN) counts as its `centre`; standardised values are held within ±`clip`. The
    autoencoder's score is its mean squared error over `threshold`, so 1 and more is anomalous. A regressor's
    number is right within `threshold` of the truth.
    """

    centre: Tensor
    scale: Tensor
    threshold: Tensor

    def __init__(
        self,
        kind: Kind,
        sizes: Sequence[int],
        labels: Sequence[str],
        *,
        clip: float = 10.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.kind: Kind = kind
        self.sizes = tuple(sizes)
        self.labels = tuple(labels)
        self.clip = clip
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(nn.Linear(wide, narrow) for wide, narrow in itertools.pairwise(sizes))
        self.register_buffer("centre", torch.zeros(sizes[0]))
        self.register_buffer("scale", torch.ones(sizes[0]))
        self.register_buffer("threshold", torch.ones(()))

    def standardise(self, values: Tensor) -> Tensor:
        """Return (B, F) in robust deviations from the centre."""
        filled = torch.where(torch.isnan(values), self.centre, values)
        return ((filled - self.centre) / self.scale).clamp(-self.clip, self.clip)

    def outputs(self, standard: Tensor) -> Tensor:
        """Return the last layer's (B, sizes[-1]) for standardised input."""
        hidden = standard
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden)
            if number < len(self.layers) - 1:
                hidden = self.dropout(torch.relu(hidden))
        return hidden

    def errors(self, standard: Tensor) -> Tensor:
        """Return an autoencoder's mean squared error of each row, (B,)."""
        return (self.outputs(standard) - standard).square().mean(1)

    def forward(self, values: Tensor) -> Tensor:
        """Return logits (B, C), a regressor's numbers (B,), or anomaly scores (B,)."""
        standard = self.standardise(values)
        if self.kind == "autoencoder":
            return self.errors(standard) / self.threshold
        outputs = self.outputs(standard)
        return outputs[:, 0] if self.kind == "regressor" else outputs

    def answer(self, values: Array) -> Array:
        """Return what `forward` gives for a numpy array, without gradients."""
        self.eval()
        with torch.inference_mode():
            out: Array = self(torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))).numpy()
        return out

    def grow(self, labels: Sequence[str]) -> Self:
        """Give the last layer a row for each label that is new; the old classes keep their weights.

        New rows start small with the lowest bias there is, so that no old answer changes before training.
        """
        new = [label for label in labels if label not in self.labels]
        if not new:
            return self
        old = self.layers[-1]
        if not isinstance(old, nn.Linear):
            raise TypeError(f"the last layer is a {type(old).__name__}, not a Linear")
        wider = nn.Linear(old.in_features, len(self.labels) + len(new))
        with torch.no_grad():
            wider.weight.mul_(0.1)
            wider.bias.fill_(float(old.bias.min()) - 2.0)
            wider.weight[: len(self.labels)] = old.weight
            wider.bias[: len(self.labels)] = old.bias
        self.layers[-1] = wider
        self.labels = (*self.labels, *new)
        self.sizes = (*self.sizes[:-1], len(self.labels))
        return self

    def rescale(self, centre: float, scale: float) -> Self:
        """Make a regressor that answers in standard deviations answer in the target's own unit."""
        last = self.layers[-1]
        if not isinstance(last, nn.Linear):
            raise TypeError(f"the last layer is a {type(last).__name__}, not a Linear")
        with torch.no_grad():
            last.weight.mul_(scale)
            last.bias.mul_(scale).add_(centre)
        return self

    def tolerate(self, error: float) -> Self:
        """Make a regressor's answers right within so much of the truth, in the target's unit."""
        with torch.no_grad():
            self.threshold.fill_(error)
        return self

    def clone(self) -> Self:
        """Return a copy that can be tuned while this one goes on answering."""
        return copy.deepcopy(self)

    def save(self, path: Path) -> None:
        """Write weights and shape as safetensors."""
        shape = {"kind": self.kind, "sizes": self.sizes, "labels": self.labels, "clip": self.clip}
        metadata = {"shape": json.dumps({**shape, "dropout": self.dropout.p})}
        save_file({name: tensor.contiguous() for name, tensor in self.state_dict().items()}, path, metadata)

    @classmethod
    def load(cls, path: Path) -> "Perceptron":
        """Read what `save` wrote.

        Raises:
            Fatal: the file is no such network.
        """
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if "shape" not in metadata:
                raise Fatal(f"{path} is no network of this trainer: its metadata lack the shape")
            shape = json.loads(metadata["shape"])
            network = cls(
                shape["kind"], shape["sizes"], shape["labels"], clip=shape["clip"], dropout=shape["dropout"]
            )
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        return network.eval()


def hits(
    network: Perceptron, inputs: Array, truth: NDArray[np.int64] | NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return (N,) which answers to (N, F) are right: the class by number, or near enough a number."""
    outputs = network.answer(inputs)
    if network.kind == "regressor":
        return np.asarray(np.abs(outputs - truth) <= float(network.threshold))
    return np.asarray(outputs.argmax(1) == truth)


def robust(values: Array | NDArray[np.float64]) -> tuple[Array, Array]:
    """Return median and scale of the columns of (N, F).

    The scale is 1.4826 · MAD or, where that is more, what the inner 90 % would span around one σ of a normal
    distribution: rates of disks and networks are quiet most of the time, and a deviation counted in their
    quiet noise says nothing. A column that hardly moves takes its standard deviation, a constant one 1.
    """
    centre = np.nan_to_num(np.nanmedian(values, axis=0))
    scale = np.nan_to_num(np.nanmedian(np.abs(values - centre), axis=0)) * _MAD_TO_SIGMA
    low, high = np.nan_to_num(np.nanquantile(values, (0.05, 0.95), axis=0))
    scale = np.maximum(scale, (high - low) / _INNER_90_SIGMAS)
    spread = np.nan_to_num(np.nanstd(values, axis=0))
    scale = np.where(scale > 1e-6 * (np.abs(centre) + 1.0), scale, spread)
    scale = np.where(scale > 1e-6 * (np.abs(centre) + 1.0), scale, 1.0)
    return centre.astype(np.float32), scale.astype(np.float32)


def text_head(width: int, labels: Sequence[str], features: Array) -> Perceptron:
    """Return a fresh head over text vectors, standardised by those of the first training, (N, `width`)."""
    head = Perceptron("classifier", (width, 128, len(labels)), labels, clip=100.0, dropout=0.1)
    head.centre.copy_(torch.from_numpy(features.mean(0)))
    head.scale.copy_(torch.from_numpy(features.std(0) + 1e-6))
    return head


def sensor_classifier(labels: Sequence[str], values: Array) -> Perceptron:
    """Return a fresh classifier of raw readings (N, F), with their robust statistics."""
    network = Perceptron("classifier", (values.shape[1], 128, 64, len(labels)), labels, dropout=0.1)
    return _standardised(network, values)


def sensor_regressor(values: Array) -> Perceptron:
    """Return a fresh regressor of raw readings (N, F), with their robust statistics.

    Without dropout: what it does to the variance of hidden units moves a number, where a class stays.
    """
    network = Perceptron("regressor", (values.shape[1], 128, 64, 1), ())
    return _standardised(network, values)


def sensor_autoencoder(values: Array) -> Perceptron:
    """Return a fresh autoencoder of raw readings (N, F), with their robust statistics."""
    width = values.shape[1]
    inner, narrow = max(8, 2 * width), max(1, (width + 1) // 2)
    network = Perceptron(
        "autoencoder", (width, inner, narrow, inner, width), ("normal", "anomaly"), clip=20.0
    )
    return _standardised(network, values)


def _standardised(network: Perceptron, values: Array) -> Perceptron:
    centre, scale = robust(values)
    network.centre.copy_(torch.from_numpy(centre))
    network.scale.copy_(torch.from_numpy(scale))
    return network
