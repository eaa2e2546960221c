"""Which weights of a pretrained encoder are tuned: consumes a model and a mode, marks or adds what learns.

LoRA is peft's (Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"), on every linear map of
every block: on few of them it stays behind full fine-tuning (Dettmers et al. 2023, "QLoRA", section 4).
"""

import warnings
from typing import Any

import torch
from torch import nn

from schemas.errors import Fatal
from trainers.recipe import Mode, Recipe


def blocks(model: nn.Module, depth: int) -> nn.ModuleList:
    """Return the transformer blocks of a model of `depth` layers, its own list of them, the first one first.

    Raises:
        Fatal: the architecture has no list of them.
    """
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return module
    raise Fatal(f"{type(model).__name__} has no list of {depth} layers; use mode `head` or `full`")


class Tuned:
    """A pretrained encoder (of `transformers`) of which the mode's part learns, in place."""

    def __init__(self, encoder: nn.Module, config: Any, recipe: Recipe) -> None:
        self.encoder = encoder
        self._adapted: Any = None
        encoder.requires_grad_(False)
        if recipe.mode is Mode.FULL:
            encoder.requires_grad_(True)
        elif recipe.mode is Mode.TOP:
            depth = config.num_hidden_layers
            if recipe.top_layers > depth:
                raise Fatal(f"there are {depth} layers, of which {recipe.top_layers} cannot be tuned")
            for block in blocks(encoder, depth)[-recipe.top_layers :]:
                block.requires_grad_(True)
        elif recipe.mode is Mode.LORA:
            self._adapt(config, recipe)
        if recipe.gradient_checkpointing and recipe.mode is not Mode.HEAD:
            # Not re-entrant: the other kind needs inputs with a gradient, which frozen embeddings lack.
            model: Any = encoder
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})

    def _adapt(self, config: Any, recipe: Recipe) -> None:
        from peft import LoraConfig, get_peft_model
        from transformers.pytorch_utils import Conv1D

        inside = {
            id(part) for block in blocks(self.encoder, config.num_hidden_layers) for part in block.modules()
        }
        names = [
            name
            for name, part in self.encoder.named_modules()
            if id(part) in inside and isinstance(part, nn.Linear | Conv1D)
        ]
        kind = type(self.encoder.get_submodule(names[0]))
        adapters = LoraConfig(
            r=recipe.rank, lora_alpha=2 * recipe.rank, lora_dropout=0.05, target_modules=names,
            fan_in_fan_out=kind is Conv1D,
        )  # fmt: skip
        torch.manual_seed(recipe.seed)
        self._adapted = get_peft_model(self.encoder, adapters)

    def merge(self) -> None:
        """Add the adapters' products to the weights they adapt: the encoder is an ordinary one again."""
        if self._adapted is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that tied weights are merged once is what is wanted
                self._adapted.merge_and_unload()
            self._adapted = None
        self.encoder.requires_grad_(False)
