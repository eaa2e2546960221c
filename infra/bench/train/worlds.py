"""Streams whose truth is known: consume a seed, produce rows without end and a model that learnt them.

A world is a stream before and after a drift. Its classes overlap, so that no model is always right and a
model can be worse by one point; what a model truly is worth is measured on rows that no gate has seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from schemas.config import Learn
from schemas.record import Coordinates
from schemas.release import Task
from trainers.dataset import Array
from trainers.encoder import Encoder
from trainers.finetune import tune
from trainers.model import Model
from trainers.perceptron import Perceptron, sensor_classifier, text_head
from trainers.row import Row

Era = Literal["old", "recent"]

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_FOREVER: Final = float("inf")
_REGIME: Final = {"old": 0.0, "recent": 3.0}
_NOISE: Final = 0.08
_WORDS: Final = ("lamp", "desk", "chair", "garden", "coffee", "winter", "shoes", "bicycle")
_TEXTS: Final = {
    "normal": ("GET /search?q={a} {b}", "POST /cart item={a}&colour={b}", "GET /reviews?of={a}&by={b}"),
    "sqli": ("GET /search?q={a}' or '{b}'='{b}' --", "GET /items?id={a} union select {b} from users--"),
    "xss": ("GET /search?q=<script>alert({a})</script>{b}", "POST /reviews text=<img src={a} onerror={b}>"),
}


class Sample:
    """Rows of one era: their labels (N,), what the network takes for them (N, F), and the rows themselves."""

    def __init__(self, truth: NDArray[np.str_], inputs: Array, rows: Callable[[], list[Row]]) -> None:
        self.truth = truth
        self.inputs = inputs
        self._rows = rows

    @cached_property
    def rows(self) -> list[Row]:
        """Return the rows; made when they are asked for, since most are only measured on."""
        return self._rows()

    def accuracy(self, network: Perceptron) -> float:
        """Return a network's share of right answers."""
        return float((np.array(network.labels)[network.answer(self.inputs).argmax(1)] == self.truth).mean())


@dataclass(frozen=True)
class World:
    """One stream. `encoder` is there where its events are texts; `learn` is how its models are tuned."""

    name: str
    seed: int
    encoder: Encoder | None = None
    learn: Learn = field(default_factory=Learn)
    reference_rows: int = 20_000

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the classes."""
        return tuple(sorted(_TEXTS)) if self.encoder else ("fast", "idle", "slow")

    @cached_property
    def texts(self) -> dict[str, list[str]]:
        """Return the texts of each class: a hundred or so, so that each is embedded once."""
        pairs = [(a, b) for a in _WORDS for b in _WORDS]
        return {
            label: [form.format(a=a, b=b) for form in forms for a, b in pairs[:: len(forms)]]
            for label, forms in _TEXTS.items()
        }

    @cached_property
    def reference(self) -> dict[Era, Sample]:
        """Return the rows by which a model's true worth is told."""
        return {
            "old": self.sample("old", self.reference_rows, 1),
            "recent": self.sample("recent", self.reference_rows, 2),
        }

    @cached_property
    def best(self) -> Model:
        """Return a model that learnt both eras."""
        return self.learnt(None, ("recent", "old"))

    @cached_property
    def before(self) -> Model:
        """Return a model that learnt the old era alone."""
        return self.learnt(None, ("old",))

    def model(self, network: Perceptron) -> Model:
        """Return the model that a network is part of."""
        features = () if self.encoder else tuple(f"s{number}" for number in range(8))
        return Model(Task.CLASSIFICATION, network, self.encoder, features)

    def learnt(self, base: Model | None, eras: Sequence[Era], rows: int = 4000) -> Model:
        """Return a model tuned on rows of some eras, from another one or from scratch."""
        samples = [self.sample(era, rows, 3 + number) for number, era in enumerate(eras)]
        inputs = np.concatenate([sample.inputs for sample in samples])
        index = {label: number for number, label in enumerate(self.labels)}
        truth = np.array([index[label] for sample in samples for label in sample.truth], dtype=np.int64)
        torch.manual_seed(self.seed)
        if base is not None:
            network = base.network.clone()
        elif self.encoder:
            network = text_head(inputs.shape[1], self.labels, inputs)
        else:
            network = sensor_classifier(self.labels, inputs)
        tune(network, inputs, truth, self.learn, deadline=_FOREVER)
        return self.model(network)

    def sample(self, era: Era, count: int, stream: int) -> Sample:
        """Return `count` rows of an era; another `stream` gives others."""
        chance = np.random.default_rng([self.seed, stream, era == "recent"])
        kinds = chance.choice(len(self.labels), count)
        row = partial(self._row, era, stream)
        if self.encoder is None:
            values = self._readings(era, kinds, chance)
            labels = np.array(self.labels)[kinds]
            return Sample(labels, values, lambda: [row(n, labels[n], values=values[n]) for n in range(count)])
        # One label in twelve is not what it should be, as where people label.
        wrong = chance.random(count) < _NOISE
        labels = np.array(self.labels)[np.where(wrong, chance.choice(len(self.labels), count), kinds)]
        texts = [chance.choice(self.texts[self.labels[kind]]) for kind in kinds]
        return Sample(
            labels, self.encoder.features(texts), lambda: [row(n, labels[n], texts[n]) for n in range(count)]
        )

    def _readings(self, era: Era, kinds: NDArray[np.int64], chance: np.random.Generator) -> Array:
        """Return readings (N, 8): seven around their class's centre, which drifts, and one of the era."""
        centres = np.random.default_rng([self.seed, era == "recent"]).normal(0, 1.1, (len(self.labels), 7))
        seven = centres[kinds] + chance.normal(0, 1, (len(kinds), 7))
        regime = _REGIME[era] + chance.normal(0, 0.3, (len(kinds), 1))
        return np.hstack([seven, regime]).astype(np.float32)

    def _row(
        self, era: Era, stream: int, number: int, label: str, text: str = "", values: Array | None = None
    ) -> Row:
        readings = () if values is None else enumerate(values.tolist())
        return Row(
            source=f"machine-{number % 4}",
            id=f"{era}-{stream}-{number}",
            time=_START + timedelta(days=90 * (era == "recent"), seconds=number),
            event=Coordinates("events.clean", 0, stream * 1_000_000 + number),
            label=str(label),
            text=str(text),
            values={f"s{place}": value for place, value in readings},
        )


def worse(world: World, model: Model, points: float, seed: int) -> Model:
    """Return a model that answers `points` of a hundred recent rows fewer rightly than another.

    Noise is added to the last layer until the reference rows say so, by bisection; old rows are no gain.
    """
    chance = np.random.default_rng([world.seed, seed])
    for _ in range(50):
        weight = model.network.layers[-1].get_parameter("weight")
        noise = torch.from_numpy(chance.normal(0, 1, tuple(weight.shape)).astype(np.float32)) * weight.std()
        low, high = 0.0, 0.1
        while lost(world, model.network, noisy(model, noise, high)) < points and high < 100:
            low, high = high, 2 * high
        for _ in range(12):
            middle = (low + high) / 2
            enough = lost(world, model.network, noisy(model, noise, middle)) >= points
            low, high = (low, middle) if enough else (middle, high)
        found = noisy(model, noise, high)
        near = lost(world, model.network, found) - points < 0.1 * points + 0.1
        if near and lost(world, model.network, found, "old") >= 0:
            return world.model(found)
    raise RuntimeError(f"no noise makes {world.name} of seed {world.seed} worse by {points} points")


def noisy(model: Model, noise: torch.Tensor, size: float) -> Perceptron:
    """Return a model's network with noise on the weights of its last layer."""
    network = model.network.clone()
    with torch.no_grad():
        network.layers[-1].get_parameter("weight").add_(size * noise)
    return network


def lost(world: World, before: Perceptron, after: Perceptron, era: Era = "recent") -> float:
    """Return how many of a hundred reference rows of an era one network answers rightly more than another."""
    sample = world.reference[era]
    return 100 * (sample.accuracy(before) - sample.accuracy(after))
