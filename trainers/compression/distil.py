"""Distillation: consumes a tuned teacher and texts, produces a student of fewer layers that answers like it.

The student begins as alternate layers of the teacher (Sanh et al. 2019, "DistilBERT") and learns from texts
alone, labelled or not: the teacher's softened logits (Hinton et al. 2015, "Distilling the Knowledge in a
Neural Network") and its mean-pooled vectors. A pruned encoder is re-tuned the same way.
"""

import copy
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from schemas.errors import Fatal
from trainers.backbone import Backbone
from trainers.distillation import divergence
from trainers.fit import Batch
from trainers.modes import blocks
from trainers.perceptron import Perceptron
from trainers.recipe import Recipe
from trainers.tasks.pretrained import inputs
from trainers.tasks.texts import Ids, TextNetwork

_HIDDEN: Final = 1.0
"""Weight of the vectors' loss beside the logits'."""


def student(teacher: Backbone, layers: int) -> Backbone:
    """Return a copy with `layers` of the teacher's blocks, evenly spread, the last one among them.

    Raises:
        Fatal: the teacher has no more blocks than that.
    """
    depth = teacher.config.num_hidden_layers
    if not 0 < layers < depth:
        raise Fatal(f"a student of {layers} layers is none of a teacher of {depth}")
    small = copy.deepcopy(teacher)
    every = blocks(small.model, depth)
    kept = [every[round((number + 1) * depth / layers) - 1] for number in range(layers)]
    del every[layers:]
    for number, block in enumerate(kept):
        every[number] = block
    small.config.num_hidden_layers = layers
    return small


class DistilledLearner:
    """Learns to give the teacher's logits and vectors, which are computed once: (N, C) and (N, H)."""

    def __init__(self, backbone: Backbone, head: Perceptron, ids: Ids, vectors: Tensor) -> None:
        head.eval().requires_grad_(False)  # it is the teacher's own, and stays
        backbone.requires_grad_(True)
        self.network: nn.Module = TextNetwork(backbone, head)
        self._backbone, self._head, self._ids = backbone, head, ids
        self._vectors = vectors
        with torch.no_grad():
            self._logits: Tensor = head(vectors)

    def length(self, row: int) -> int:
        return len(self._ids.rows[row])

    def collate(self, rows: Sequence[int]) -> Batch:
        chosen = torch.tensor(list(rows))
        batch = inputs([self._ids.rows[row] for row in rows], self._ids.pad)
        return {**batch, "vectors": self._vectors[chosen], "logits": self._logits[chosen]}

    def weight(self, batch: Batch) -> float:
        return float(len(batch["logits"]))

    def loss(self, batch: Batch) -> Tensor:
        """Return the summed loss of a batch: T² · KL(teacher ‖ student), and the vectors' squared error."""
        vectors = self._backbone(batch["input_ids"], batch["attention_mask"])  # (B, H)
        logits = self._head(vectors)  # (B, C)
        soft = divergence(logits, batch["logits"]).sum()
        # In the head's own units: a direction that it looks at closely counts as it looks at it.
        error = (vectors - batch["vectors"]) / self._head.scale
        loss: Tensor = soft + _HIDDEN * error.square().mean(1).sum()
        return loss

    def groups(self, recipe: Recipe) -> list[tuple[list[nn.Parameter], float]]:
        return [([weight for weight in self._backbone.parameters() if weight.requires_grad], recipe.rate)]
