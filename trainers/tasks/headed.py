"""A base with a head of `transformers`' own, as the part of a Learner that all such tasks share."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from schemas.errors import Fatal
from trainers.fit import Batch
from trainers.modes import Tuned
from trainers.recipe import Mode, Recipe
from trainers.tasks.pretrained import IGNORED, Head, Words, config_of, limit, network_of, words_of


class Headed:
    """The network of a base with a head, of which the recipe's mode says what learns.

    The heads of language models are pretrained: `head` is refused for them, and LoRA leaves them as they are.
    """

    def __init__(self, base: str, head: Head, recipe: Recipe, **changes: Any) -> None:
        if head in {"mlm", "clm"} and recipe.mode is Mode.HEAD:
            raise Fatal(f"mode head has nothing to tune for {head}: use top-k, lora or full")
        self.config = config_of(base)
        self.words: Words = words_of(base, self.config)
        self.max_tokens = limit(self.config, recipe.max_tokens)
        self.model: Any = network_of(base, head, recipe.seed, **changes)
        self.network: nn.Module = self.model
        encoder = self.model.base_model
        inside = {id(weight) for weight in encoder.parameters()}
        self._head = [weight for weight in self.model.parameters() if id(weight) not in inside]
        self.tuned = Tuned(encoder, self.config, recipe)
        for weight in self._head:
            weight.requires_grad_(not (head in {"mlm", "clm"} and recipe.mode is Mode.LORA))

    def groups(self, recipe: Recipe) -> list[tuple[list[nn.Parameter], float]]:
        """Return the encoder's tuned weights and the head's, each with its rate."""
        inside = {id(weight) for weight in self._head}
        encoder = [w for w in self.network.parameters() if w.requires_grad and id(w) not in inside]
        head = [weight for weight in self._head if weight.requires_grad]
        return [(group, rate) for group, rate in ((encoder, recipe.rate), (head, recipe.head_rate)) if group]


def summed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the summed loss of (B, T, C) against (B, T), without the ignored positions."""
    return functional.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
    )


def without_targets(batch: Batch) -> dict[str, Tensor]:
    """Return what the network takes of a batch."""
    return {name: value for name, value in batch.items() if name != "targets"}


def counted(targets: Tensor) -> float:
    """Return how many positions something is learnt from."""
    return float((targets != IGNORED).sum())
