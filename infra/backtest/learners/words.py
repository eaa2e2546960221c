"""Text, learnt line by line: consumes a text, produces what its words and letter groups say of it.

Words and character n-grams are hashed into 2^18 places (K. Weinberger et al., "Feature hashing for large
scale multitask learning", ICML 2009); each label has an AdaGrad logistic regression over them, one against
the rest. A label that was never seen before is known from its first row on.
"""

import re
from collections import deque
from typing import Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from infra.backtest.learners.protocol import Seen, Shares

Floats = NDArray[np.float32]

_PLACES: Final = 1 << 18
_GRAMS: Final = (2, 3, 4)
_MAX_LENGTH: Final = 400
_RATE: Final = 0.5
_REHEARSED: Final = 50
"""Rows of each label that are kept to be learnt again, one of another label with each row."""

_TOKEN: Final = re.compile(r"\w+|[^\w\s]+")


class _Against:
    """One label against the rest."""

    def __init__(self) -> None:
        self.weights: Floats = np.zeros(_PLACES, np.float32)
        self.squares: Floats = np.full(_PLACES, 1e-2, np.float32)

    def odds(self, at: NDArray[np.int64], scale: float) -> float:
        return float(self.weights[at].sum()) * scale

    def learn(self, at: NDArray[np.int64], scale: float, *, is_it: bool) -> None:
        error = float(is_it) - _logistic(self.odds(at, scale))
        step = np.float32(error * scale)
        self.squares[at] += step * step
        self.weights[at] += np.float32(_RATE) * step / np.sqrt(self.squares[at])


class Words:
    """Memory: 2 MiB a label, and 50 texts a label."""

    def __init__(self) -> None:
        self._models: dict[str, _Against] = {}
        self._kept: dict[str, deque[NDArray[np.int64]]] = {}
        self._turn = 0

    def shares(self, seen: Seen) -> Shares:
        if not self._models:
            return {}
        at = places(seen.text)
        scale = _scale(at)
        found = {label: _logistic(model.odds(at, scale)) + 1e-9 for label, model in self._models.items()}
        total = sum(found.values())
        return {label: share / total for label, share in found.items()}

    def learn(self, seen: Seen, label: str) -> None:
        at = places(seen.text)
        if label not in self._models:
            self._models[label] = _Against()
            self._kept[label] = deque(maxlen=_REHEARSED)
        self._learn(at, label)
        self._kept[label].append(at)
        self._rehearse(label)

    def _learn(self, at: NDArray[np.int64], label: str) -> None:
        scale = _scale(at)
        for name, model in self._models.items():
            model.learn(at, scale, is_it=name == label)

    def _rehearse(self, label: str) -> None:
        """Learn a kept row of another label again, so that a rare one is not drowned."""
        others = [name for name in self._kept if name != label]
        if others:
            self._turn += 1
            name = others[self._turn % len(others)]
            kept = self._kept[name]
            self._learn(kept[self._turn % len(kept)], name)


def places(text: str) -> NDArray[np.int64]:
    """Return the distinct places of a text's words, letter groups and length."""
    low = text[:_MAX_LENGTH].lower()
    features = {f"w {token}" for token in _TOKEN.findall(low)}
    padded = f"^{low}$"
    for size in _GRAMS:
        features.update(padded[start : start + size] for start in range(len(padded) - size + 1))
    features.add(f"long {len(text).bit_length()}")
    return np.array(sorted({crc32(f.encode(errors="replace")) % _PLACES for f in features}), np.int64)


def _scale(at: NDArray[np.int64]) -> float:
    return 1.0 / float(np.sqrt(max(1, len(at))))


def _logistic(x: float) -> float:
    return float(1.0 / (1.0 + np.exp(-min(max(x, -30.0), 30.0))))
