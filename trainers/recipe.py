"""How a network is tuned: the mode and the numbers of one training, checked where they come in."""

from enum import StrEnum
from typing import Annotated, Final

import msgspec

from schemas.errors import Fatal

Positive = Annotated[int, msgspec.Meta(ge=1)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=0.5)]


class Mode(StrEnum):
    """Which weights are tuned."""

    HEAD = "head"
    TOP = "top-k"
    LORA = "lora"
    FULL = "full"


ENCODER_RATES: Final = {Mode.TOP: 5e-5, Mode.LORA: 5e-4, Mode.FULL: 5e-5}
"""AdamW's rate for the pretrained weights; adapters, which start at zero, bear ten times as much."""


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one training.

    `batch` rows go through the network at once, and `accumulate` of these make one step: the gradient is that
    of `batch · accumulate` rows. Rates rise over the first `warmup` share of all steps and fall to zero in a
    straight line after it. Training stops when `patience` epochs in a row did not lower the loss on the
    `validation` share, and the best epoch's weights are kept. `encoder_rate` 0 takes the mode's own.
    """

    mode: Mode = Mode.HEAD
    top_layers: Positive = 2
    rank: Positive = 8
    epochs: Positive = 4
    batch: Positive = 32
    accumulate: Positive = 1
    head_rate: float = 2e-3
    encoder_rate: float = 0.0
    weight_decay: float = 0.01
    warmup: Share = 0.1
    clip: float = 1.0
    patience: Positive = 3
    validation: Share = 0.1
    test: Share = 0.1
    max_tokens: Positive = 128
    gradient_checkpointing: bool = False
    seed: int = 7

    @property
    def rate(self) -> float:
        """Return the rate of the pretrained weights."""
        return self.encoder_rate or ENCODER_RATES.get(self.mode, 0.0)

    def factor(self, step: int, steps: int) -> float:
        """Return what the rates are multiplied by at a step (from 0) of `steps`."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return (step + 1) / rising
        return max(0.0, (steps - step) / max(1, steps - rising))


def split(rows: int, recipe: Recipe, *, tested_apart: bool = False) -> tuple[list[int], list[int], list[int]]:
    """Return the numbers of the rows to train on, to validate with and to test with, drawn by the seed.

    `tested_apart` leaves no row for the test: its rows come from a file of their own.

    Raises:
        Fatal: there are too few rows for that.
    """
    import numpy as np

    order = np.random.default_rng(recipe.seed).permutation(rows).tolist()
    validated = max(1, round(recipe.validation * rows)) if recipe.validation else 0
    tested = 0 if tested_apart else max(1, round(recipe.test * rows))
    training = order[validated + tested :]
    if len(training) < 2:
        raise Fatal(f"{rows} rows are too few to train on, to validate with and to test with")
    return training, order[:validated], order[validated : validated + tested]
