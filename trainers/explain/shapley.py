"""Shapley values: consumes a function and two points, produces each part's share of the way between them.

Shapley 1953; estimated over orders of the parts as Castro, Gómez and Tejada 2009 do, in pairs of an order and
its reverse (Mitchell, Cooper, Frank and Holmes 2022). The walk is captum's. Shares add up exactly, whatever
orders were walked; where all of them are, parts that play the same role have the same share.
"""

import itertools
import math
from collections.abc import Callable, Iterator

import torch
from captum.attr import ShapleyValueSampling
from torch import Tensor


def exact(parts: int, most: int) -> bool:
    """Tell whether `most` orders are all that there are of so many parts."""
    return math.factorial(parts) <= most


def orders(parts: int, most: int, seed: int) -> Iterator[tuple[int, ...]]:
    """Yield all orders of the parts, or `most` of them, drawn by seed in pairs with their reverse."""
    if exact(parts, most):
        yield from itertools.permutations(range(parts))
        return
    chance = torch.Generator().manual_seed(seed)
    for _ in range(max(1, most // 2)):
        drawn = tuple(torch.randperm(parts, generator=chance).tolist())
        yield drawn
        yield drawn[::-1]


def shapley(
    function: Callable[[Tensor], Tensor], inputs: Tensor, baselines: Tensor, parts: Tensor,
    *, most: int, seed: int, at_once: int = 1,
) -> Tensor:  # fmt: skip
    """Return the share of each part, (B, P), of `function(inputs) - function(baselines)`, both (B, F).

    `parts` (F,) numbers the part of each column from 0 on; columns of one part come and go together.
    `function` gives (N,) for (N, F); `at_once` points of each row are asked for in one call.
    """
    if not len(parts):
        return torch.zeros(len(inputs), 0)
    walk = ShapleyValueSampling(function)
    walk.permutation_generator = lambda count, most: orders(count, most, seed)
    shares: Tensor = walk.attribute(
        inputs, baselines, feature_mask=parts.unsqueeze(0), n_samples=most, perturbations_per_eval=at_once
    )
    count = int(parts.max()) + 1
    first = [int((parts == part).nonzero()[0]) for part in range(count)]
    return shares[:, first]  # every column of a part has the part's share
