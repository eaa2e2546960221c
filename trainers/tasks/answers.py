"""Answers found in a text: consumes questions with contexts, produces the first and last piece of the answer.

A context that is too long is read in windows that overlap; a window without the answer points at its first
piece (Devlin et al. 2018, "BERT", 4.2 and 4.3). Windows are the learner's units, `units` gives those of a
row of data.
"""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor
from torch.nn import functional

from schemas.errors import Fatal
from trainers.dataset import Array
from trainers.fit import Batch
from trainers.recipe import Recipe
from trainers.tasks.examples import Question
from trainers.tasks.headed import Headed, without_targets
from trainers.tasks.pretrained import inputs, padded

_LONGEST: Final = 30
"""Pieces of the longest answer that is looked for."""


class Window(NamedTuple):
    """A question with a part of its context, and where the answer is in it (0, 0: nowhere)."""

    ids: list[int]
    types: list[int]
    offsets: list[tuple[int, int]]
    context: tuple[int, int]
    start: int
    end: int


class AnswerLearner(Headed):
    """Learns where the answers of N questions begin and end."""

    def __init__(self, base: str, examples: Sequence[Question], recipe: Recipe) -> None:
        super().__init__(base, "qa", recipe)
        self._typed = getattr(self.config, "type_vocab_size", 0) > 1  # BERT tells question and context apart
        self._examples = examples
        self._windows: list[Window] = []
        self._of: list[list[int]] = []
        for example in examples:
            found = windows(self.words.tokenizer, example, self.max_tokens)
            self._of.append(list(range(len(self._windows), len(self._windows) + len(found))))
            self._windows += found

    def units(self, rows: Sequence[int]) -> list[int]:
        """Return the numbers of the windows of rows."""
        return [number for row in rows for number in self._of[row]]

    def length(self, row: int) -> int:
        return len(self._windows[row].ids)

    def collate(self, rows: Sequence[int]) -> Batch:
        chosen = [self._windows[row] for row in rows]
        places = torch.tensor([[window.start, window.end] for window in chosen])
        batch = {**inputs([window.ids for window in chosen], self.words.pad), "targets": places}  # (B, 2)
        if self._typed:
            batch["token_type_ids"] = padded([window.types for window in chosen], 0)
        return batch

    def weight(self, batch: Batch) -> float:
        return float(batch["targets"].numel())

    def loss(self, batch: Batch) -> Tensor:
        found = self.model(**without_targets(batch))
        starts, ends = (
            functional.cross_entropy(logits.float(), batch["targets"][:, side], reduction="sum")
            for side, logits in enumerate((found.start_logits, found.end_logits))
        )
        return starts + ends

    def answer(self, row: int) -> str:
        """Return the wording that the network finds for a row's question."""
        self.network.eval()
        best, wording = -np.inf, ""
        for number in self._of[row]:
            window = self._windows[number]
            batch = without_targets(self.collate([number]))
            with torch.inference_mode():
                found = self.model(**{name: value.to(self.model.device) for name, value in batch.items()})
            starts, ends = (
                logits[0].float().cpu().numpy() for logits in (found.start_logits, found.end_logits)
            )
            score, begin, end = best_span(window, starts, ends)
            if score > best:
                best, wording = score, self._examples[row].context[begin:end]
        return wording

    def metrics(self, rows: Sequence[int]) -> dict[str, float]:
        """Return exact match and F1 as SQuAD counts them (Rajpurkar et al. 2016)."""
        pairs = [(self._examples[row].answer, self.answer(row)) for row in rows]
        return {
            "exact_match": float(np.mean([plain(truth) == plain(found) for truth, found in pairs])),
            "f1": float(np.mean([overlap(truth, found) for truth, found in pairs])),
        }


def best_span(window: Window, starts: Array, ends: Array) -> tuple[float, int, int]:
    """Return the best answer's logit, and its first character in the context and the one behind its last.

    `starts` and `ends` are the window's logits, (T,) each.
    """
    low, high = window.context
    scores = starts[low:high, None] + ends[None, low:high]  # (C, C)
    every = np.ones_like(scores, dtype=bool)
    scores = np.where(np.triu(every) & ~np.triu(every, _LONGEST), scores, -np.inf)
    first, last = np.unravel_index(int(scores.argmax()), scores.shape)
    begin, end = window.offsets[low + int(first)][0], window.offsets[low + int(last)][1]
    return float(scores[first, last]), begin, end


def windows(tokenizer: Tokenizer, example: Question, max_tokens: int) -> list[Window]:
    """Cut a question's context into windows of `max_tokens` pieces, question and special ones included.

    Raises:
        Fatal: the question leaves no room for a context.
    """
    question = tokenizer.encode(example.question, add_special_tokens=False)
    room = max_tokens - len(question.ids) - 4
    if room < 8:
        raise Fatal(
            f"the question {example.question[:40]!r} leaves no room for a context in {max_tokens} tokens"
        )
    tokenizer.enable_truncation(max_tokens, stride=room // 3, strategy="only_second")
    encoding = tokenizer.encode(example.question, example.context)
    tokenizer.no_truncation()
    return [_window(part, example) for part in (encoding, *encoding.overflowing)]


def _window(encoding: Encoding, example: Question) -> Window:
    sequence, offsets = encoding.sequence_ids, encoding.offsets
    inside = [at for at, kind in enumerate(sequence) if kind == 1]
    low, high = inside[0], inside[-1] + 1
    begin, end = example.start, example.start + len(example.answer)
    touched = [at for at in inside if offsets[at][0] < end and offsets[at][1] > begin]
    whole = bool(touched) and offsets[low][0] <= begin and offsets[high - 1][1] >= end
    start, last = (touched[0], touched[-1]) if whole else (0, 0)
    return Window(encoding.ids, encoding.type_ids, offsets, (low, high), start, last)


def plain(answer: str) -> str:
    """Return an answer in lower case without punctuation, articles and double spaces."""
    bare = "".join(sign for sign in answer.lower() if sign not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def overlap(truth: str, found: str) -> float:
    """Return the F1 of the words of two answers."""
    wanted, got = plain(truth).split(), plain(found).split()
    if not wanted or not got:
        return float(wanted == got)
    common = sum((Counter(wanted) & Counter(got)).values())
    return 2 * common / (len(wanted) + len(got))
