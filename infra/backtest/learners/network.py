"""The trainers' sensor network, tuned again and again: consumes labelled rows, produces its answers.

The same network, loss and early stopping as in the live system (`trainers.finetune.tune`), on the newest
labels.
"""

import time
from typing import Final

import numpy as np
import torch

from infra.backtest.learners.protocol import Seen, Shares
from infra.backtest.learners.vectors import Vectors
from schemas.config import Learn
from trainers.finetune import tune
from trainers.perceptron import Perceptron, sensor_classifier

_AT_LEAST: Final = 20


class Network:
    """Trained anew on the newest `window` labels when their number has grown by `growth` (at most `every`).

    Memory: those rows and one network.
    """

    def __init__(self, seed: int, *, window: int = 2000, growth: float = 0.05, every: int = 1000) -> None:
        self._seed = seed
        self._vectors = Vectors(window)
        self._growth = growth
        self._every = every
        self._learnt = 0
        self._next = _AT_LEAST
        self._network: Perceptron | None = None
        self._width = 0

    def shares(self, seen: Seen) -> Shares:
        if self._network is None:
            return {}
        x = self._vectors.read(seen.values, grow=False)[: self._width]
        logits = self._network.answer(x[None])[0].astype(np.float64)
        odds = np.exp(logits - logits.max())
        return dict(zip(self._network.labels, (odds / odds.sum()).tolist(), strict=True))

    def learn(self, seen: Seen, label: str) -> None:
        self._vectors.add(seen.values, label)
        self._learnt += 1
        if self._learnt >= self._next and len(self._vectors.classes) > 1:
            self._next = self._learnt + min(self._every, max(10, int(self._growth * self._learnt)))
            self.train()

    def train(self) -> None:
        """Train anew on the rows at hand."""
        torch.set_num_threads(1)
        rows, labels = self._vectors.rows, tuple(sorted(self._vectors.classes))
        torch.manual_seed(self._seed)
        network = sensor_classifier(labels, rows)
        code = {label: number for number, label in enumerate(labels)}
        truth = np.array([code[label] for label in self._vectors.labels], dtype=np.int64)
        tune(network, rows, truth, Learn(seed=self._seed), deadline=time.monotonic() + 600.0)
        self._network, self._width = network, rows.shape[1]
