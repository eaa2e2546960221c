"""Figures of generated text: consumes references and what a model wrote, produces BLEU, ROUGE and perplexity.

No stream's model writes text yet; whoever adds one measures it with these.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

_ORDER: Final = 4


class Rouge(NamedTuple):
    """Precision, recall and F1 of what two texts share."""

    precision: float
    recall: float
    f1: float


def bleu(references: Sequence[Sequence[str]], written: Sequence[str]) -> float:
    """Return the corpus BLEU of texts, each with one or more references: 0 to 1.

    Papineni et al. 2002: the geometric mean of clipped n-gram precisions up to four words, times the brevity
    penalty against the nearest reference's length. Words are what blanks part; nothing is smoothed.

    Raises:
        ValueError: there are not as many lists of references as texts.
    """
    hits, given = [0] * _ORDER, [0] * _ORDER
    wanted = length = 0
    for texts, text in zip(references, written, strict=True):
        words, others = text.split(), [other.split() for other in texts]
        length += len(words)
        wanted += min((abs(len(other) - len(words)), len(other)) for other in others)[1]
        for order in range(1, _ORDER + 1):
            counts: Counter[tuple[str, ...]] = Counter()
            for other in others:
                counts |= _grams(other, order)
            own = _grams(words, order)
            hits[order - 1] += (own & counts).total()
            given[order - 1] += own.total()
    if not all(hits):
        return 0.0
    mean = sum(math.log(hit / count) for hit, count in zip(hits, given, strict=True)) / _ORDER
    return math.exp(mean + min(0.0, 1.0 - wanted / length))


def rouge_n(reference: str, written: str, order: int = 1) -> Rouge:
    """Return what two texts share of their n-grams (Lin 2004)."""
    wanted, own = _grams(reference.split(), order), _grams(written.split(), order)
    return _rouge((wanted & own).total(), own.total(), wanted.total())


def rouge_l(reference: str, written: str) -> Rouge:
    """Return what two texts share of their longest common subsequence of words (Lin 2004)."""
    wanted, own = reference.split(), written.split()
    row = [0] * (len(own) + 1)
    for word in wanted:
        before = 0
        for place, other in enumerate(own, start=1):
            before, row[place] = row[place], before + 1 if word == other else max(row[place], row[place - 1])
    return _rouge(row[-1], len(own), len(wanted))


def perplexity(log_likelihoods: Sequence[float]) -> float:
    """Return e to the mean negative natural log-likelihood of the tokens (Jelinek et al. 1977).

    Raises:
        ValueError: there is no token.
    """
    if not log_likelihoods:
        raise ValueError("the perplexity of no token is not defined")
    return math.exp(-sum(log_likelihoods) / len(log_likelihoods))


def _grams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[start : start + order]) for start in range(len(words) - order + 1))


def _rouge(shared: int, own: int, wanted: int) -> Rouge:
    return Rouge(
        shared / own if own else 0.0,
        shared / wanted if wanted else 0.0,
        2 * shared / (own + wanted) if own + wanted else 0.0,
    )
