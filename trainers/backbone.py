"""The text encoder's network in torch: consumes token ids, produces one vector per text; source of its graph.

Any encoder that `transformers` knows, with mean pooling over it. Importing `transformers` takes seconds, so
it happens here alone: when a base model's graphs are made, once, and when its layers are tuned.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from schemas.errors import Fatal


class Backbone(nn.Module):
    """Token ids to one mean-pooled vector per text: `(B, T), (B, T) -> (B, H)`."""

    def __init__(self, model: nn.Module, config: Any) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.width: int = config.hidden_size

    @classmethod
    def load(cls, folder: Path, weights: Path | None = None) -> "Backbone":
        """Read a model folder (`config.json`, `model.safetensors`), or tuned `weights` in their place.

        The weights may be of fewer layers, heads or neurons than the base has (`trainers.compression`).

        Raises:
            Fatal: `transformers` does not know the architecture, or the weights do not fit it.
        """
        from transformers import AutoModel, utils

        utils.logging.disable_progress_bar()
        utils.logging.set_verbosity_error()  # that the base's own head is left out is no warning
        try:
            # Eager attention is plain matrix products, which every exporter and runtime understands.
            model = AutoModel.from_pretrained(
                folder, attn_implementation="eager", dtype=torch.float32,
                local_files_only=True, use_safetensors=True,
            )  # fmt: skip
            if weights is not None:
                tensors = load_file(weights)
                fitted(model, tensors)
                model.load_state_dict(tensors)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise Fatal(f"{folder} holds no encoder that can be loaded: {reason}") from error
        return cls(model, model.config).eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return (B, H): the mean over the tokens that are no padding."""
        hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, T, H)
        weights = attention_mask.to(torch.float32).unsqueeze(-1)  # (B, T, 1)
        pooled: Tensor = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)
        return pooled

    def save(self, path: Path) -> None:
        """Write the model's weights under the names that `transformers` gives them."""
        tensors = {name: value.contiguous() for name, value in self.model.state_dict().items()}
        save_file(tensors, path)


def fitted(model: Any, tensors: Mapping[str, Tensor]) -> None:
    """Make a model of `transformers` as deep, and its linear maps as wide, as the weights that it will get.

    Attention with fewer heads needs nothing more: how many there are follows from the maps' width.
    """
    depth = model.config.num_hidden_layers
    for name, part in list(model.named_modules()):
        if isinstance(part, nn.ModuleList) and len(part) == depth:
            there = {int(key[len(name) + 1 :].split(".")[0]) for key in tensors if key.startswith(f"{name}.")}
            del part[len(there) :]
            model.config.num_hidden_layers = len(part)
    for name, part in list(model.named_modules()):
        weight = tensors.get(f"{name}.weight")
        if isinstance(part, nn.Linear) and weight is not None and weight.shape != part.weight.shape:
            outer, _, own = name.rpartition(".")
            smaller = nn.Linear(weight.shape[1], weight.shape[0], bias=part.bias is not None)
            setattr(model.get_submodule(outer), own, smaller)
