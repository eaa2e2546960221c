"""What a candidate is to keep of its champion: consumes the champion's answers, produces a loss term.

A student that learns new labels is held to its teacher's soft answers where these are still right (Z. Li and
D. Hoiem, "Learning without forgetting", 2018; with replayed rows P. Buzzega et al., "Dark experience for
general continual learning", 2020). Soft answers are compared as by G. Hinton, O. Vinyals and J. Dean,
"Distilling the knowledge in a neural network", 2015.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from schemas.config import Learn
from trainers.dataset import Array, Dataset, Numbers
from trainers.model import Model
from trainers.outdated import contradicted
from trainers.perceptron import Perceptron, hits
from trainers.row import Row

TEMPERATURE: Final = 2.0
"""Softens both answers, so that what the teacher thinks of the other classes counts; Hinton's 2 to 5."""

_UNLEARNT: Final = 0.01
_CHANGED: Final = 0.25

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class SoftTargets:
    """A teacher's logits (N, K) of rows, K the student's first classes, and which rows are `distilled`, (N,).

    `weight` is what a row's divergence counts beside its cross-entropy.
    """

    logits: Tensor
    distilled: Tensor
    weight: float
    temperature: float = TEMPERATURE

    def loss(self, outputs: Tensor, at: Tensor, weights: Tensor) -> Tensor:
        """Return the weighted sum of the divergences of logits (B, C) of rows `at`, (B,).

        `weights` (B,) are the rows' own, as in their cross-entropy.
        """
        told, known = self.logits[at].to(outputs.device), self.logits.shape[1]
        apart = divergence(outputs[:, :known], told, self.temperature)  # (B,)
        counted = weights * self.distilled[at].to(outputs.device)
        return self.weight * (apart * counted).sum()


def divergence(student: Tensor, teacher: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Return T² · KL(teacher, student) of each row's softened logits, (B, K) both; (B,).

    T² keeps the gradients' size as T changes.
    """
    soft, own = (functional.log_softmax(logits / temperature, dim=1) for logits in (teacher, student))
    return temperature**2 * functional.kl_div(own, soft, reduction="none", log_target=True).sum(1)


def soft_targets(
    teacher: Model | None, learn: Learn, data: Dataset, rows: Sequence[Row], inputs: Array
) -> SoftTargets | None:
    """Return what `teacher` says to `rows`, whose inputs (N, F) are its network's; None where none teaches.

    Distilled are rows of classes that the teacher does not know, and replayed rows that it is right about
    and that no recent rows contradict; where nothing is replayed, recent rows that it is right about. Where
    more than a quarter of the old rows is contradicted the concept has changed: what the teacher says is of
    another one, and would hold up what is to be learnt.
    """
    if teacher is None or not learn.distill:
        return None
    logits = teacher.network.answer(inputs)
    known, truth = np.array(teacher.labels), np.array([row.label for row in rows])
    right = known[logits.argmax(1)] == truth
    if old := [*data.old, *data.old_validation]:
        gone = contradicted(data.recent, old, [], teacher)
        if gone.mean() > _CHANGED:
            return None
        kept = {(row.source, row.id) for row, out in zip(old, gone, strict=True) if not out}
        right &= np.array([(row.source, row.id) in kept for row in rows])
    distilled = right | ~np.isin(truth, known)
    return SoftTargets(torch.from_numpy(logits), torch.from_numpy(distilled), learn.distill)


def blended(
    student: Perceptron, teacher: Perceptron, share: float, inputs: Array, truth: Indices | Numbers
) -> Perceptron:
    """Return `student`, tuned from `teacher`, moved by `share` of the way back to it, weight by weight.

    Models tuned from one another lie in one valley, and between them is what both know (M. Wortsman et al.,
    "Robust fine-tuning of zero-shot models", 2022). Where that unlearns more than one in a hundred of what is
    right of the recent rows (N, F), their truth (N,), the world has moved and the student stays as it is. Its
    weights for new classes stay, too.
    """
    moved = student.clone()
    with torch.no_grad():
        for own, old in zip(moved.parameters(), teacher.parameters(), strict=True):
            own[: len(old)].lerp_(old, share)
    before, after = (int(hits(network, inputs, truth).sum()) for network in (student, moved))
    return moved if after >= (1 - _UNLEARNT) * before else student
