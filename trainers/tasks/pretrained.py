"""A base model as tasks use it: consumes its folder, produces tokens, padded batches and the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from schemas.errors import Fatal
from trainers.encoder import locate

Head = Literal["tokens", "qa", "mlm", "clm"]

IGNORED: Final = -100
"""The target of a position that nothing is learnt from: torch's own convention."""

_CLASSES: Final = {
    "tokens": "AutoModelForTokenClassification",
    "qa": "AutoModelForQuestionAnswering",
    "mlm": "AutoModelForMaskedLM",
    "clm": "AutoModelForCausalLM",
}


@dataclass(frozen=True)
class Words:
    """A base's fast tokenizer without padding, and the ids that batches need."""

    tokenizer: Tokenizer
    pad: int
    mask: int | None
    special: frozenset[int]
    vocabulary: int

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`."""
        self.tokenizer.save(str(folder / "tokenizer.json"))


def words_of(base: str, config: Any) -> Words:
    """Read the tokenizer of a base.

    Raises:
        Fatal: the folder has no `tokenizer.json`.
    """
    path = locate(base) / "tokenizer.json"
    if not path.is_file():
        raise Fatal(
            f"{path.parent} has no tokenizer.json; write one with transformers:"
            ' AutoTokenizer.from_pretrained(".").save_pretrained(".")'
        )
    tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    special = {number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
    mask = next((n for t in ("[MASK]", "<mask>") if (n := tokenizer.token_to_id(t)) is not None), None)
    pad = config.pad_token_id if config.pad_token_id is not None else 0
    return Words(tokenizer, pad, mask, frozenset(special), config.vocab_size)


def config_of(base: str) -> Any:
    """Read the configuration of a base.

    Raises:
        Fatal: `transformers` does not know it.
    """
    from transformers import AutoConfig

    folder = locate(base)
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise Fatal(f"{folder} holds no model that can be loaded: {str(error).splitlines()[0]}") from error


def network_of(base: str, head: Head, seed: int, **changes: Any) -> Any:
    """Load a base's weights with a head for the task; a head that the base lacks begins at random, seeded.

    Raises:
        Fatal: the architecture has no such head, or the weights do not fit it.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()  # that a new head is new is no warning
    torch.manual_seed(seed)
    folder = locate(base)
    try:
        return getattr(transformers, _CLASSES[head]).from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32,
            local_files_only=True, use_safetensors=True, **changes,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        raise Fatal(f"{folder} cannot be loaded for {head!r}: {str(error).splitlines()[0]}") from error


def limit(config: Any, asked: int) -> int:
    """Return how many tokens a text may have: what was asked, at most what the base has positions for."""
    positions = getattr(config, "max_position_embeddings", asked)
    # RoBERTa counts positions from behind its padding id.
    offset = (
        (config.pad_token_id or 0) + 1 if config.model_type in {"roberta", "xlm-roberta", "camembert"} else 0
    )
    return min(asked, positions - offset)


def padded(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    """Return (B, T) int64, T the longest row's length, `filler` behind the others."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows], dtype=torch.int64)


def inputs(rows: Sequence[Sequence[int]], pad: int) -> dict[str, Tensor]:
    """Return `input_ids` and `attention_mask`, (B, T) each."""
    return {"input_ids": padded(rows, pad), "attention_mask": padded([[1] * len(row) for row in rows], 0)}


class Outputs(nn.Module):
    """A network as a function of two tensors to its logits, which is what a graph can be made of."""

    def __init__(self, network: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.names = tuple(names)
        self._options = {"use_cache": False} if getattr(network.config, "use_cache", None) is not None else {}

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Return the named outputs of (B, T) tokens, in their order."""
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        found = self.network(input_ids=input_ids, attention_mask=attention_mask, **types, **self._options)
        return tuple(getattr(found, name) for name in self.names)
