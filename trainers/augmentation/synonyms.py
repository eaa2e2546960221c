"""Varies a text by words of like meaning: consumes the base model's own word vectors, produces a text.

A word's substitutes are its nearest neighbours in the embedding layer, by cosine (as W. Y. Wang and D. Yang
did with word2vec, "That's so annoying!!!", EMNLP 2015). The base model is at hand where a text model is
trained, so this needs no network and no thesaurus; a base without WordPiece vectors is refused.
"""

import random
import re
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from safetensors import safe_open
from tokenizers import Tokenizer

from schemas.errors import Fatal

_LAYER: Final = "embeddings.word_embeddings.weight"
_SHARE: Final = 0.1
_NEIGHBOURS: Final = 5
_ALIKE: Final = 0.5
"""Cosine below which a neighbour is another thing."""

_WORD: Final = re.compile(r"[A-Za-z]{3,}")


class Synonyms:
    """Replaces a tenth of the words that have near neighbours; names and masks have none."""

    def __init__(self, words: list[str], vectors: "np.ndarray[Any, np.dtype[np.float32]]") -> None:
        """Take whole lower-case words and their vectors, (W, H)."""
        self._words = words
        self._number = {word: number for number, word in enumerate(words)}
        self._vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
        self._found: dict[str, list[str]] = {}

    @classmethod
    def of(cls, base: str) -> Self:
        """Read the vectors of a base model.

        Raises:
            Fatal: it is not at hand, or has no such vectors.
        """
        from trainers.encoder import locate

        folder = locate(base)
        vectors, vocabulary = _layer(folder), _vocabulary(folder)
        known = sorted(
            (number, word)
            for word, number in vocabulary.items()
            if _WORD.fullmatch(word) and word.islower() and number < len(vectors)
        )
        return cls([word for _, word in known], vectors[[number for number, _ in known]])

    def vary(self, text: str, chance: random.Random) -> str:
        places = [match for match in _WORD.finditer(text) if self.neighbours(match[0].lower())]
        if not places:
            return text
        count = min(len(places), max(1, round(_SHARE * len(text.split()))))
        chosen = sorted(chance.sample(places, count), key=lambda match: match.start(), reverse=True)
        for match in chosen:
            word = chance.choice(self.neighbours(match[0].lower()))
            text = text[: match.start()] + word + text[match.end() :]
        return text

    def neighbours(self, word: str) -> list[str]:
        """Return up to five words of like meaning, nearest first; none of a word that is not known."""
        if word not in self._number:
            return []
        if word not in self._found:
            likeness = self._vectors @ self._vectors[self._number[word]]  # (W,)
            likeness[self._number[word]] = -1.0
            nearest = np.argsort(-likeness)[:_NEIGHBOURS]
            self._found[word] = [self._words[at] for at in nearest.tolist() if likeness[at] >= _ALIKE]
        return self._found[word]


def _layer(folder: Path) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """Return the embedding layer, (V, H)."""
    with safe_open(folder / "model.safetensors", framework="np") as file:
        names = [name for name in file.keys() if name.endswith(_LAYER)]  # noqa: SIM118 - no mapping
        if not names:
            raise Fatal(
                f"augment_with = 'synonyms' needs the word vectors of a BERT-like base; {folder.name} has no"
                f" {_LAYER}. Choose 'eda', which needs none"
            )
        return np.asarray(file.get_tensor(names[0]), dtype=np.float32)


def _vocabulary(folder: Path) -> dict[str, int]:
    found: dict[str, int] = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab()
    return found
