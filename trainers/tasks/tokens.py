"""Tags of words (entities and the like): consumes tagged sentences, produces a tag for each first piece.

The other pieces of a word, and special tokens, are not learnt from, as in Devlin et al. 2018 ("BERT", 5.3).
"""

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import pre_tokenizers
from torch import Tensor

from trainers.fit import Batch
from trainers.recipe import Recipe
from trainers.tasks.examples import Tagged
from trainers.tasks.headed import Headed, counted, summed_cross_entropy, without_targets
from trainers.tasks.pretrained import IGNORED, inputs, padded


class TokenLearner(Headed):
    """Learns the tags of N sentences; `labels` is the order of the tags in the logits."""

    def __init__(self, base: str, examples: Sequence[Tagged], recipe: Recipe) -> None:
        self.labels = tuple(sorted({tag for example in examples for tag in example.tags}))
        names = dict(enumerate(self.labels))
        super().__init__(
            base, "tokens", recipe, id2label=names, label2id={name: n for n, name in names.items()}
        )
        self._examples = examples
        self._rows = [aligned(self.words.tokenizer, e, self.labels, self.max_tokens) for e in examples]

    def length(self, row: int) -> int:
        return len(self._rows[row][0])

    def collate(self, rows: Sequence[int]) -> Batch:
        chosen = [self._rows[row] for row in rows]
        return {
            **inputs([ids for ids, _ in chosen], self.words.pad),
            "targets": padded([targets for _, targets in chosen], IGNORED),
        }

    def weight(self, batch: Batch) -> float:
        return counted(batch["targets"])

    def loss(self, batch: Batch) -> Tensor:
        found = self.model(**without_targets(batch))
        return summed_cross_entropy(found.logits, batch["targets"])

    def metrics(self, rows: Sequence[int]) -> dict[str, float]:
        """Return the accuracy of words and the F1 of whole entities, over words that were not cut off."""
        self.network.eval()
        truth, found = [], []
        for row in rows:
            batch = self.collate([row])
            with torch.inference_mode():
                given = {
                    name: tensor.to(self.model.device) for name, tensor in without_targets(batch).items()
                }
                logits = self.model(**given).logits.cpu()
            known = batch["targets"] != IGNORED
            truth.append([self.labels[n] for n in batch["targets"][known].tolist()])
            found.append([self.labels[n] for n in logits.argmax(-1)[known].tolist()])
        words = [a == b for t, f in zip(truth, found, strict=True) for a, b in zip(t, f, strict=True)]
        return {"accuracy": sum(words) / max(1, len(words)), "entity_f1": entity_f1(truth, found)}


def aligned(
    tokenizer: Any, example: Tagged, labels: Sequence[str], max_tokens: int
) -> tuple[list[int], list[int]]:
    """Return the ids of a sentence's pieces and their targets: each word's first piece has its tag."""
    if isinstance(tokenizer.pre_tokenizer, pre_tokenizers.ByteLevel):
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(
            add_prefix_space=True
        )  # every word follows a space
    tokenizer.enable_truncation(max_tokens)
    encoding = tokenizer.encode(list(example.words), is_pretokenized=True)
    targets, before = [], None
    for word in encoding.word_ids:
        targets.append(IGNORED if word is None or word == before else labels.index(example.tags[word]))
        before = word
    return encoding.ids, targets


def entities(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Return the entities of a sentence's BIO (or IO) tags: kind, first word, word behind the last.

    An `I-` that continues nothing of its kind begins an entity, as conlleval counts it.
    """
    found: set[tuple[str, int, int]] = set()
    begin, kind = 0, ""
    for at, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-") if "-" in tag else ("O" if tag == "O" else "I", "", tag)
        here = "" if prefix == "O" else name
        if kind and (here != kind or prefix == "B"):
            found.add((kind, begin, at))
            kind = ""
        if here and not kind:
            begin, kind = at, here
    return found


def entity_f1(truth: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> float:
    """Return the micro F1 of entities that agree in kind and both ends (CoNLL-2003's measure)."""
    pairs = [(entities(t), entities(f)) for t, f in zip(truth, found, strict=True)]
    hits = sum(len(t & f) for t, f in pairs)
    there = sum(len(t) + len(f) for t, f in pairs)
    return 2 * hits / there if there else 1.0
