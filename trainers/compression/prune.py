"""Magnitude pruning of an encoder: consumes a backbone and a share, leaves it with less to compute.

    heads, neurons  the smallest are cut out of the matrices: fewer products, so faster everywhere
    weights         the smallest are set to zero: dense kernels multiply zeros as slowly as anything else,
                    so a CPU gains nothing (Han et al. 2015, "Learning both Weights and Connections")

Heads as in Michel et al. 2019, "Are Sixteen Heads Really Better than One?", but by weight norm alone.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from schemas.errors import Fatal
from trainers.backbone import Backbone
from trainers.modes import blocks


def prune_weights(backbone: Backbone, share: float) -> float:
    """Zero the smallest `share` of all weights in the blocks' linear maps; return the share that is zero."""
    _check(share)
    inside = blocks(backbone.model, backbone.config.num_hidden_layers)
    maps = [part for block in inside for part in block.modules() if isinstance(part, nn.Linear)]
    prune.global_unstructured(
        [(part, "weight") for part in maps], pruning_method=prune.L1Unstructured, amount=share
    )
    for part in maps:
        prune.remove(part, "weight")  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return sum(int((part.weight == 0).sum()) for part in maps) / sum(part.weight.numel() for part in maps)


def prune_structure(backbone: Backbone, share: float) -> dict[str, int]:
    """Cut `share` of each block's attention heads and feed-forward neurons; return how many of each went.

    At least one head and one neuron of a block stay.

    Raises:
        Fatal: the blocks are not BERT's.
    """
    _check(share)
    cut = {"heads": 0, "neurons": 0}
    for block in blocks(backbone.model, backbone.config.num_hidden_layers):
        if not hasattr(block, "attention") or not hasattr(block, "intermediate"):
            raise Fatal(f"{type(block).__name__} is no block of BERT's kind; distil a student instead")
        cut["heads"] += _cut_heads(block, share)
        cut["neurons"] += _cut_neurons(block, share)
    return cut


@torch.no_grad()
def _cut_heads(block: Any, share: float) -> int:
    own, out = block.attention.self, block.attention.output
    size: int = own.attention_head_size
    heads: int = own.query.out_features // size
    gone = min(round(share * heads), heads - 1)
    norms = sum(part.weight.view(heads, size, -1).square().sum((1, 2)) for part in (own.value, own.query))
    norms = norms + out.dense.weight.view(-1, heads, size).square().sum((0, 2))  # (heads,)
    kept = norms.argsort(descending=True)[: heads - gone].sort().values
    columns = (kept[:, None] * size + torch.arange(size)).flatten()
    for name in ("query", "key", "value"):
        setattr(own, name, _rows(getattr(own, name), columns))
    out.dense = _columns(out.dense, columns)
    own.num_attention_heads, own.all_head_size = heads - gone, (heads - gone) * size
    return gone


@torch.no_grad()
def _cut_neurons(block: Any, share: float) -> int:
    first, second = block.intermediate.dense, block.output.dense
    width: int = first.out_features
    gone = min(round(share * width), width - 1)
    norms = first.weight.square().sum(1).sqrt() * second.weight.square().sum(0).sqrt()  # (neurons,)
    kept = norms.argsort(descending=True)[: width - gone].sort().values
    block.intermediate.dense, block.output.dense = _rows(first, kept), _columns(second, kept)
    return gone


def _rows(part: nn.Linear, kept: Tensor) -> nn.Linear:
    smaller = nn.Linear(part.in_features, len(kept))
    smaller.weight.copy_(part.weight[kept])
    smaller.bias.copy_(part.bias[kept])
    return smaller


def _columns(part: nn.Linear, kept: Tensor) -> nn.Linear:
    smaller = nn.Linear(len(kept), part.out_features)
    smaller.weight.copy_(part.weight[:, kept])
    smaller.bias.copy_(part.bias)
    return smaller


def _check(share: float) -> None:
    if not 0.0 < share < 1.0:
        raise Fatal(f"a share of {share:g} cannot be pruned; give one between 0 and 1")
