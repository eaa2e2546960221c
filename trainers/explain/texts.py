"""Explains a text classifier's answer: consumes encoder, head and text, produces what each word adds.

Integrated gradients (Sundararajan, Taly and Yan 2017) over the embedding layer, by captum: along the straight
way from the text with every word masked to the text itself. Word pieces are summed to words; special tokens
stand at both ends alike and add nothing. How far the sum is from what it must be, the completeness error, is
measured, and steps are doubled until it is within a bound.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from captum.attr import LayerIntegratedGradients
from tokenizers import Tokenizer
from torch import Tensor

from trainers.backbone import Backbone
from trainers.dataset import Array
from trainers.explain.explanation import explained
from trainers.explain.words import Word, blank, owners, words
from trainers.perceptron import Perceptron

_STEPS: Final = (32, 64, 128, 256, 512, 1024)
_AT_ONCE: Final = 16
_RELATIVE: Final = 0.02
_ABSOLUTE: Final = 0.01
"""What of the difference the error may be, and what it may be of a difference that is next to nothing."""


class Attributed(NamedTuple):
    """The words that were read, with their shares (W,); `error` is within `bound` unless steps ran out."""

    words: list[Word]
    shares: Array
    output: float
    baseline: float
    error: float
    bound: float
    steps: int


class Tokens(NamedTuple):
    """A text's token ids (T,), the same with every word taken away (T,), and each token's word (T,)."""

    ids: Tensor
    blanked: Tensor
    words: list[Word]
    owners: list[int]


def tokens(tokenizer: Tokenizer, text: str) -> Tokens:
    """Return the tokens of a text that the model reads, and the words that they are pieces of."""
    encoding = tokenizer.encode(text)
    found = words(text)
    owned = owners(encoding, text, found)
    ids = torch.tensor(encoding.ids, dtype=torch.int64)
    away = torch.tensor([owner >= 0 for owner in owned], dtype=torch.bool)
    read = max(owned, default=-1) + 1
    return Tokens(ids, ids.masked_fill(away, blank(tokenizer)), found[:read], owned)


def integrated(
    backbone: Backbone, head: Perceptron, tokenizer: Tokenizer, text: str, label: str,
    steps: Sequence[int] = _STEPS,
) -> Attributed:  # fmt: skip
    """Return what each word of a text adds to the log-odds of `label`, in FP32."""
    there = tokens(tokenizer, text)
    given, base = there.ids.unsqueeze(0), there.blanked.unsqueeze(0)  # (1, T)
    mask = torch.ones_like(given)
    for module in (backbone.eval(), head.eval()):
        module.requires_grad_(False)

    def function(ids: Tensor, mask: Tensor) -> Tensor:
        return explained(head, head(backbone(ids, mask)), label)

    with torch.inference_mode():
        output, baseline = float(function(given, mask)), float(function(base, mask))
    bound = max(_ABSOLUTE, _RELATIVE * abs(output - baseline))
    layer = backbone.model.get_input_embeddings()  # type: ignore[operator]  # transformers is not analysed
    embeddings = LayerIntegratedGradients(function, layer)
    shares, error, taken = np.zeros(len(there.words), dtype=np.float32), abs(output - baseline), 0
    for count in steps if there.words else ():
        found = embeddings.attribute(
            given, base, additional_forward_args=(mask,), n_steps=count, internal_batch_size=_AT_ONCE
        )
        shares, taken = _by_word(found.sum(-1).squeeze(0), there), count
        error = abs(float(shares.sum(dtype=np.float64)) - (output - baseline))
        if error <= bound:
            break
    return Attributed(there.words, shares, output, baseline, error, bound, taken)


def _by_word(shares: Tensor, there: Tokens) -> Array:
    """Sum the shares of tokens (T,) to those of words (W,)."""
    found = np.zeros(len(there.words), dtype=np.float32)
    for owner, share in zip(there.owners, shares.tolist(), strict=True):
        if owner >= 0:
            found[owner] += share
    return found
