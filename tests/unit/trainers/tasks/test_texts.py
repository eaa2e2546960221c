"""An encoder and its head, tuned together under a teacher."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.trainers.tiny import build
from trainers.backbone import Backbone
from trainers.distillation import SoftTargets
from trainers.perceptron import text_head
from trainers.recipe import Mode, Recipe
from trainers.tasks.texts import Ids, TextLearner

ROWS = [[2, 5, 6, 3], [2, 7, 3], [2, 8, 9, 10, 3]]


def _learner(base: Path, teacher: SoftTargets | None) -> TextLearner:
    backbone = Backbone.load(base)
    torch.manual_seed(1)
    vectors = np.random.default_rng(1).normal(size=(9, backbone.width)).astype(np.float32)
    head = text_head(backbone.width, ("a", "b"), vectors)
    truth = np.array([0, 1, 1])
    return TextLearner(backbone, head, Ids(ROWS, 0), truth, Recipe(mode=Mode.FULL), teacher)


def test_a_teacher_counts_by_how_far_the_network_is_from_it(tmp_path: Path) -> None:
    """Nothing if it says the same, or is asked of no row; more the surer it is of the opposite."""
    base = build(tmp_path, "bert")
    alone = _learner(base, None)
    alone.network.eval()
    batch = alone.collate([0, 1, 2])
    with torch.no_grad():
        said = alone.network(batch["input_ids"], batch["attention_mask"])
        plain = float(alone.loss(batch))
        every, none = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)

        def loss(told: torch.Tensor, distilled: torch.Tensor) -> float:
            learner = _learner(base, SoftTargets(told, distilled, 1.0))
            learner.network.eval()
            return float(learner.loss(learner.collate([0, 1, 2])))

        assert loss(said, every) == pytest.approx(plain, abs=1e-4)
        assert loss(-9 * said, none) == pytest.approx(plain, abs=1e-6)
        opposite = torch.tensor([[0.0, 5.0], [5.0, 0.0], [5.0, 0.0]])
        assert plain < loss(opposite, every) < loss(3 * opposite, every)
