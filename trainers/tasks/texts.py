"""Classes of texts: consumes labelled texts and a base, produces an encoder and a head over its mean vector.

The head is tuned first, on vectors that are computed once; whatever the mode tunes below it then starts
under a head that knows the classes (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features").
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trainers.backbone import Backbone
from trainers.distillation import SoftTargets
from trainers.finetune import class_weights
from trainers.fit import Batch
from trainers.modes import Tuned
from trainers.perceptron import Perceptron
from trainers.recipe import Recipe
from trainers.tasks.pretrained import inputs

_LATER: Final = 0.1
"""Part of the head's rate once it is tuned: at its whole rate the first steps undo what it learnt."""

_TIES: Final = 0.01
_UNDER_A_HEAD: Final = 0.2
"""Part of a mode's rate below a tuned head, which sees small deviations enlarged (decision 0021)."""


def under_a_head(recipe: Recipe) -> Recipe:
    """Return the recipe for an encoder below a tuned head; a rate that was asked for stays."""
    return msgspec.structs.replace(recipe, encoder_rate=recipe.encoder_rate or _UNDER_A_HEAD * recipe.rate)


class Ids(NamedTuple):
    """Token ids of each text, special ones included, and the id that fills rows up."""

    rows: Sequence[Sequence[int]]
    pad: int


class TextNetwork(nn.Module):
    """`(B, T), (B, T) -> (B, C)`: the encoder's mean vector and the head's logits."""

    def __init__(self, backbone: Backbone, head: Perceptron) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        logits: Tensor = self.head(self.backbone(input_ids, attention_mask))
        return logits


class TextLearner:
    """Learns an encoder's part (by the recipe's mode) together with a head that is there already.

    It is held to what a `teacher` said of the rows, if there is one.
    """

    def __init__(
        self, backbone: Backbone, head: Perceptron, ids: Ids, truth: NDArray[np.int64], recipe: Recipe,
        teacher: SoftTargets | None = None,
    ) -> None:  # fmt: skip
        self.tuned = Tuned(backbone.model, backbone.config, recipe)
        self.network: nn.Module = TextNetwork(backbone, head)
        self._head = head
        self._ids = ids
        self._truth = torch.from_numpy(truth)
        self._weights = class_weights(self._truth, len(head.labels))
        self._teacher = teacher

    def length(self, row: int) -> int:
        return len(self._ids.rows[row])

    def collate(self, rows: Sequence[int]) -> Batch:
        batch = inputs([self._ids.rows[row] for row in rows], self._ids.pad)
        at = torch.tensor(rows, dtype=torch.int64)
        return {**batch, "targets": self._truth[at], "rows": at}

    def weight(self, batch: Batch) -> float:
        return float(self._weights[batch["targets"].cpu()].sum())

    def loss(self, batch: Batch) -> Tensor:
        logits = self.network(batch["input_ids"], batch["attention_mask"])  # (B, C)
        weights, targets = self._weights.to(logits.device), batch["targets"]
        loss = functional.cross_entropy(logits.float(), targets, weight=weights, reduction="sum")
        if self._teacher is None:
            return loss
        return loss + self._teacher.loss(logits.float(), batch["rows"].cpu(), weights[targets])

    def fault(self, batch: Batch) -> Tensor:
        """Return the weighted count of wrong answers, and a little of the loss to tell equals apart.

        A tuned encoder may be right more often and surer of its mistakes: by the loss it would be worse.
        """
        logits = self.network(batch["input_ids"], batch["attention_mask"])  # (B, C)
        weights = self._weights.to(logits.device)
        targets = batch["targets"]
        wrong: Tensor = (weights[targets] * (logits.argmax(1) != targets)).sum()
        loss = functional.cross_entropy(logits.float(), targets, weight=weights, reduction="sum")
        total: Tensor = wrong + _TIES * loss
        return total

    def groups(self, recipe: Recipe) -> list[tuple[list[nn.Parameter], float]]:
        encoder = [weight for weight in self.tuned.encoder.parameters() if weight.requires_grad]
        return [(encoder, recipe.rate), (list(self._head.parameters()), _LATER * recipe.head_rate)]
