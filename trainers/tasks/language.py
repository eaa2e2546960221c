"""Language models: consumes texts, produces a base that knows their language better, by its perplexity.

Masked: 15 % of the pieces are to be guessed, of which 80 % are masked, 10 % another piece and 10 % as they
are (Devlin et al. 2018, "BERT", 3.1). Causal: texts are joined and cut into blocks, each piece is told by
those before.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.errors import Fatal
from trainers.devices import choose
from trainers.fit import Batch, mean_loss
from trainers.recipe import Recipe
from trainers.tasks.examples import Text
from trainers.tasks.generation import alike, greedy, halves
from trainers.tasks.headed import Headed, counted, summed_cross_entropy, without_targets
from trainers.tasks.pretrained import IGNORED, inputs

_GUESSED: Final = 0.15
_MASKED: Final = 0.8
_REPLACED: Final = 0.5
"""Of those that are not masked."""

_WRITTEN: Final = 24
"""Test texts that a causal model goes on with: each piece costs a run of the network."""


class MaskedLearner(Headed):
    """Learns to guess masked pieces of N texts."""

    def __init__(self, base: str, examples: Sequence[Text], recipe: Recipe) -> None:
        super().__init__(base, "mlm", recipe)
        if self.words.mask is None:
            raise Fatal("the base's tokenizer has no mask token; a causal model is tuned by --task clm")
        self._mask = self.words.mask
        self._seed = recipe.seed
        self.words.tokenizer.enable_truncation(self.max_tokens)
        encoded = self.words.tokenizer.encode_batch([example.text for example in examples])
        self._rows = [encoding.ids for encoding in encoded]
        self._batch = recipe.batch

    def length(self, row: int) -> int:
        return len(self._rows[row])

    def collate(self, rows: Sequence[int]) -> Batch:
        """Return masked rows: anew each time in training, by row and seed in evaluation."""
        batch = inputs([self._rows[row] for row in rows], self.words.pad)
        generator = (
            None if self.network.training else torch.Generator().manual_seed(self._seed + 31 * rows[0])
        )
        ids, targets = self.masked(batch["input_ids"], batch["attention_mask"], generator)
        return {**batch, "input_ids": ids, "targets": targets}

    def masked(
        self, ids: Tensor, attention: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Return (B, T) ids with pieces hidden, and the targets: the hidden pieces, else ignored."""
        free = attention.bool() & ~torch.isin(
            ids, torch.tensor(sorted(self.words.special), dtype=torch.int64)
        )
        chosen = free & (torch.rand(ids.shape, generator=generator) < _GUESSED)
        fate = torch.rand(ids.shape, generator=generator)
        other = torch.randint(self.words.vocabulary, ids.shape, generator=generator)
        targets = torch.where(chosen, ids, IGNORED)
        hidden = torch.where(chosen & (fate < _MASKED), self._mask, ids)
        replaced = chosen & (fate >= _MASKED) & (fate < _MASKED + _REPLACED * (1 - _MASKED))
        return torch.where(replaced, other, hidden), targets

    def weight(self, batch: Batch) -> float:
        return counted(batch["targets"])

    def loss(self, batch: Batch) -> Tensor:
        found = self.model(**without_targets(batch))
        return summed_cross_entropy(found.logits, batch["targets"])

    def metrics(self, rows: Sequence[int]) -> dict[str, float]:
        """Return the perplexity of hidden pieces, the same ones whenever it is asked."""
        return {"perplexity": perplexity(self, rows, self._batch)}


class CausalLearner(Headed):
    """Learns blocks of the joined texts; its units are blocks, which `units` cuts for rows of data."""

    def __init__(self, base: str, examples: Sequence[Text], recipe: Recipe) -> None:
        super().__init__(base, "clm", recipe)
        self._texts = [example.text for example in examples]
        self._blocks: list[list[int]] = []
        self._batch = recipe.batch

    def units(self, rows: Sequence[int]) -> list[int]:
        """Cut the joined texts of rows into blocks and return the numbers of these."""
        end = self.config.eos_token_id
        joined: list[int] = []
        for encoding in self.words.tokenizer.encode_batch([self._texts[row] for row in rows]):
            joined += encoding.ids
            if end is not None and (not joined or joined[-1] != end):
                joined.append(end)
        blocks = [joined[at : at + self.max_tokens] for at in range(0, len(joined), self.max_tokens)]
        before = len(self._blocks)
        self._blocks += [block for block in blocks if len(block) > 1]
        return list(range(before, len(self._blocks)))

    def length(self, row: int) -> int:
        return len(self._blocks[row])

    def collate(self, rows: Sequence[int]) -> Batch:
        batch = inputs([self._blocks[row] for row in rows], self.words.pad)
        return {**batch, "targets": torch.where(batch["attention_mask"].bool(), batch["input_ids"], IGNORED)}

    def weight(self, batch: Batch) -> float:
        return counted(batch["targets"][:, 1:])

    def loss(self, batch: Batch) -> Tensor:
        found = self.model(**without_targets(batch), use_cache=False)
        return summed_cross_entropy(found.logits[:, :-1], batch["targets"][:, 1:])

    def metrics(self, rows: Sequence[int]) -> dict[str, float]:
        """Return the perplexity of blocks."""
        return {"perplexity": perplexity(self, rows, self._batch)}

    def written(self, rows: Sequence[int]) -> dict[str, float]:
        """Return how much of the first few rows' second halves it writes after the first halves."""
        self.network.eval()
        references, found = [], []
        for row in rows[:_WRITTEN]:
            ids = self.words.tokenizer.encode(self._texts[row]).ids[: self.max_tokens]
            first, rest = halves(ids)
            if rest:
                more = greedy(self._following, first, len(rest), self.config.eos_token_id)
                references.append(self.words.tokenizer.decode(rest))
                found.append(self.words.tokenizer.decode(more))
        return alike(references, found)

    def _following(self, pieces: list[int]) -> NDArray[np.float32]:
        given = torch.tensor([pieces], device=self.model.device)
        with torch.inference_mode():
            logits = self.model(input_ids=given, use_cache=False).logits[0, -1]
        return np.asarray(logits.float().cpu())


def perplexity(learner: "MaskedLearner | CausalLearner", rows: Sequence[int], size: int) -> float:
    """Return e to the mean loss of a piece."""
    return math.exp(min(700.0, mean_loss(learner, rows, size, choose())))
