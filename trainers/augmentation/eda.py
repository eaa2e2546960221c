"""Varies a text by chance: consumes words, produces them with a few swapped, left out or masked.

After J. Wei and K. Zou, "EDA: easy data augmentation techniques for boosting performance on text
classification tasks", EMNLP 2019: one operation a variant, on a tenth of the words. Their synonym
replacement and insertion need a thesaurus, which masks, paths and identifiers are not in; a masked word
takes their place.
"""

import random
from typing import Final

_SHARE: Final = 0.1
_FEWEST: Final = 3
_MASK: Final = "[MASK]"
"""Which the tokenizers of BERT's family read as one token."""


class Eda:
    """Random swap, deletion and masking of words; a text of fewer than three words has no variant."""

    def vary(self, text: str, chance: random.Random) -> str:
        words = text.split()
        if len(words) < _FEWEST:
            return text
        count = max(1, round(_SHARE * len(words)))
        operation = chance.choice((_swapped, _deleted, _masked))
        return " ".join(operation(words, count, chance))


def _swapped(words: list[str], count: int, chance: random.Random) -> list[str]:
    """Exchange `count` pairs of words."""
    words = list(words)
    for _ in range(count):
        one, other = chance.sample(range(len(words)), 2)
        words[one], words[other] = words[other], words[one]
    return words


def _deleted(words: list[str], count: int, chance: random.Random) -> list[str]:
    gone = set(chance.sample(range(len(words)), count))
    return [word for place, word in enumerate(words) if place not in gone]


def _masked(words: list[str], count: int, chance: random.Random) -> list[str]:
    gone = set(chance.sample(range(len(words)), count))
    return [_MASK if place in gone else word for place, word in enumerate(words)]
