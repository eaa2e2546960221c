"""A perceptron over fixed vectors as a Learner: heads over cached text vectors, and networks of readings."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trainers.dataset import Array
from trainers.finetune import class_weights
from trainers.fit import Batch
from trainers.perceptron import Perceptron
from trainers.recipe import Recipe

Truth = NDArray[np.int64] | NDArray[np.float32]

_NO_TRUTH: Final = torch.zeros(0)


class VectorLearner:
    """Learns (N, F) vectors: classes (N,) int64, numbers (N,) float32 or, without truth, the vectors alone.

    Errors of numbers are squared, in standard deviations of `truth`.
    """

    def __init__(self, network: Perceptron, values: Array, truth: Truth | None) -> None:
        self.network: nn.Module = network
        self.perceptron = network
        self._values = torch.from_numpy(values)
        self._truth = _NO_TRUTH if truth is None else torch.from_numpy(truth)
        self._weights = (
            class_weights(self._truth, len(network.labels)) if network.kind == "classifier" else _NO_TRUTH
        )

    def length(self, row: int) -> int:
        return 1

    def collate(self, rows: Sequence[int]) -> Batch:
        at = torch.tensor(rows, dtype=torch.int64)
        batch = {"inputs": self._values[at]}  # (B, F)
        if self.perceptron.kind != "autoencoder":
            batch["targets"] = self._truth[at]  # (B,)
        return batch

    def weight(self, batch: Batch) -> float:
        if self.perceptron.kind == "classifier":
            return float(self._weights[batch["targets"].cpu()].sum())
        return float(len(batch["inputs"]))

    def loss(self, batch: Batch) -> Tensor:
        network = self.perceptron
        standard = network.standardise(batch["inputs"])
        if network.kind == "autoencoder":
            return network.errors(standard).sum()
        outputs = network.outputs(standard)
        if network.kind == "regressor":
            return (outputs[:, 0] - batch["targets"]).square().sum()
        weights = self._weights.to(outputs.device)
        return functional.cross_entropy(outputs, batch["targets"], weight=weights, reduction="sum")

    def groups(self, recipe: Recipe) -> list[tuple[list[nn.Parameter], float]]:
        return [(list(self.network.parameters()), recipe.head_rate)]
