"""The text encoder's network in torch: consumes token ids, produces one vector per text; source of its graph.

A compact BERT (Devlin et al. 2019, arXiv:1810.04805) whose parameters carry the names that Hugging Face gives
them, so a published `model.safetensors` loads as it is. It stands here because importing `transformers` costs
12 s and 300 MB on two cores, and the trainer needs one architecture of it.
"""

import json
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from schemas.errors import Fatal

_MASKED: Final = -10_000.0
"""Added to the attention scores of padding: its share is 0 in float32, and it survives quantisation."""


class Embeddings(nn.Module):
    """Sum of word, position and type embeddings, normalised."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.word_embeddings = nn.Embedding(config["vocab_size"], width)
        self.position_embeddings = nn.Embedding(config["max_position_embeddings"], width)
        self.token_type_embeddings = nn.Embedding(config["type_vocab_size"], width)
        self.LayerNorm = nn.LayerNorm(width, eps=config["layer_norm_eps"])

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return (B, T, H) for token ids (B, T)."""
        positions = self.position_embeddings.weight[: input_ids.shape[1]]  # (T, H)
        words = self.word_embeddings(input_ids) + self.token_type_embeddings.weight[0]
        embedded: Tensor = self.LayerNorm(words + positions)
        return embedded


class Attention(nn.Module):
    """Multi-head self-attention, its residual and its norm."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.heads = config["num_attention_heads"]
        self.self = nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")})
        self.output = nn.ModuleDict(
            {"dense": nn.Linear(width, width), "LayerNorm": nn.LayerNorm(width, eps=config["layer_norm_eps"])}
        )

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """Return (B, T, H); `bias` (B, 1, 1, T) hides the padding."""
        size = hidden.shape[2] // self.heads

        def split(name: str) -> Tensor:
            projected: Tensor = self.self[name](hidden)
            return projected.view(hidden.shape[0], -1, self.heads, size).transpose(1, 2)  # (B, A, T, H/A)

        scores = split("query") @ split("key").transpose(2, 3) / size**0.5 + bias  # (B, A, T, T)
        mixed = (functional.softmax(scores, dim=-1) @ split("value")).transpose(1, 2)
        mixed = mixed.reshape(hidden.shape[0], -1, self.heads * size)  # (B, T, H)
        attended: Tensor = self.output["LayerNorm"](self.output["dense"](mixed) + hidden)
        return attended


class Layer(nn.Module):
    """One transformer block: attention, then a feed-forward pair."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        width, inner = config["hidden_size"], config["intermediate_size"]
        self.attention = Attention(config)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = nn.ModuleDict(
            {"dense": nn.Linear(inner, width), "LayerNorm": nn.LayerNorm(width, eps=config["layer_norm_eps"])}
        )

    def forward(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """Return (B, T, H)."""
        hidden = self.attention(hidden, bias)
        inner = functional.gelu(self.intermediate["dense"](hidden))
        out: Tensor = self.output["LayerNorm"](self.output["dense"](inner) + hidden)
        return out


class Backbone(nn.Module):
    """Token ids to one mean-pooled vector per text: `(B, T), (B, T) -> (B, H)`."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.config = config
        self.width: int = config["hidden_size"]
        self.embeddings = Embeddings(config)
        layers = [Layer(config) for _ in range(config["num_hidden_layers"])]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(layers)})

    @classmethod
    def load(cls, folder: Path, weights: Path | None = None) -> "Backbone":
        """Read `config.json` and `model.safetensors` of a folder, or tuned `weights` in their place.

        Raises:
            Fatal: the folder holds another architecture than BERT, or its weights do not fit.
        """
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if config.get("model_type") != "bert" or config.get("hidden_act", "gelu") != "gelu":
            raise Fatal(
                f"{folder}: the base model must be a BERT encoder with GELU, not {config.get('model_type')!r}"
            )
        backbone = cls(config)
        tensors = load_file(weights or folder / "model.safetensors")
        tensors = {name.removeprefix("bert."): value for name, value in tensors.items()}
        missing = backbone.load_state_dict(tensors, strict=False).missing_keys
        if missing:
            raise Fatal(f"{folder}: the weights lack {missing[0]} and {len(missing) - 1} more")
        return backbone.eval()

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return (B, H): the mean over the tokens that are no padding."""
        kept = attention_mask.to(torch.float32)
        bias = (1.0 - kept[:, None, None, :]) * _MASKED  # (B, 1, 1, T)
        hidden = self.embeddings(input_ids)
        for layer in self.blocks:
            hidden = layer(hidden, bias)
        weights = kept.unsqueeze(-1)  # (B, T, 1)
        pooled: Tensor = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)
        return pooled

    @property
    def blocks(self) -> list[nn.Module]:
        """Return the transformer blocks, the first one first."""
        stacked = self.encoder["layer"]
        return list(stacked) if isinstance(stacked, nn.ModuleList) else []

    def save(self, path: Path) -> None:
        """Write the weights under the names they were read by."""
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, path)
