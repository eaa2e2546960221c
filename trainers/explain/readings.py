"""Explains a perceptron's answer to readings: consumes network, row and background, produces shares.

A reading's share is its Shapley value (Lundberg and Lee 2017): what it adds on average when it takes its
value in place of a training row's, over the orders in which readings may do so. The baseline is the mean
output over those training rows.
"""

import math
import random
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor

from trainers.dataset import Array, matrix
from trainers.explain.explanation import explained
from trainers.explain.shapley import exact, shapley
from trainers.perceptron import Perceptron
from trainers.row import Row

ORDERS: Final = 720
"""Orders of one answer's readings: all of them up to six readings."""

BACKGROUND: Final = 32
_AT_ONCE: Final = 8192
"""Rows in one call of the network."""


def background(network: Perceptron, rows: Sequence[Row], features: Sequence[str], seed: int) -> Array:
    """Return (N, F) readings to compare with: some training rows by seed, or without any the centre."""
    if not rows or not features:
        return network.centre.numpy().reshape(1, -1)
    chance = random.Random(seed)
    return matrix(chance.sample(list(rows), min(BACKGROUND, len(rows))), features)


def shares(
    network: Perceptron, values: Array, against: Array, label: str, *, most: int = ORDERS, seed: int = 11
) -> tuple[Array, Array, Array]:
    """Return the shares (N, F) of readings (N, F) against background rows (M, F), outputs and baselines (N,).

    A missing reading counts as the network's centre, as it does when the network answers. Readings are moved
    as the network sees them, standardised and clipped, so that one that is far out adds what it does there.
    """
    rows, width = values.shape
    count = len(against)
    with torch.inference_mode():
        given = _standard(network, values).repeat_interleave(count, 0)  # (N·M, F)
        base = _standard(network, against).repeat(rows, 1)  # (N·M, F)

        def function(standard: Tensor) -> Tensor:
            return explained(network, _answers(network, standard), label)

        found = shapley(
            function, given, base, torch.arange(width),
            most=most, seed=seed, at_once=max(1, min(width, _AT_ONCE // len(given))),
        )  # fmt: skip
        outputs = function(given[::count])
        baselines = function(base[:count]).mean().expand(rows)
    return found.reshape(rows, count, width).mean(1).numpy(), outputs.numpy(), baselines.numpy()


def _standard(network: Perceptron, values: Array) -> Tensor:
    return network.standardise(torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)))


def _answers(network: Perceptron, standard: Tensor) -> Tensor:
    """Return what the network's `forward` gives behind its standardisation."""
    if network.kind == "autoencoder":
        return network.errors(standard) / network.threshold
    outputs = network.outputs(standard)
    return outputs[:, 0] if network.kind == "regressor" else outputs


def told_orders(width: int, most: int = ORDERS) -> str:
    """Return how many orders of so many readings are walked, in words."""
    return f"all {math.factorial(width)}" if exact(width, most) else f"{most}"
