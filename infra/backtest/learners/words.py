"""Text, learnt line by line: consumes a text, produces what its words and letter groups say of it.

Words and character n-grams are hashed into 2^16 places (K. Weinberger et al., "Feature hashing for large
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
Places = NDArray[np.int64]

_PLACES: Final = 1 << 16
_GRAMS: Final = (2, 3, 4)
_MAX_LENGTH: Final = 400
_RATE: Final = 0.5
_REHEARSED: Final = 50
"""Rows of each label that are kept to be learnt again, one of another label with each row."""

_TOKEN: Final = re.compile(r"\w+|[^\w\s]+")


class Words:
    """Memory: half a MiB a label, and 50 texts a label."""

    def __init__(self) -> None:
        self._labels: dict[str, int] = {}
        self._weights: Floats = np.zeros((0, _PLACES), np.float32)  # (C, P)
        self._squares: Floats = np.zeros((0, _PLACES), np.float32)  # (C, P), AdaGrad's
        self._kept: list[deque[Places]] = []
        self._turn = 0

    def shares(self, seen: Seen) -> Shares:
        if not self._labels:
            return {}
        found = _logistic(self._odds(places(seen.text))) + 1e-9
        return dict(zip(self._labels, (found / found.sum()).tolist(), strict=True))

    def learn(self, seen: Seen, label: str) -> None:
        at = places(seen.text)
        number = self._labels.get(label)
        if number is None:
            number = self._grow(label)
        self._learn(at, number)
        self._kept[number].append(at)
        self._rehearse(number)

    def _grow(self, label: str) -> int:
        """Give a new label a row of weights."""
        number = self._labels[label] = len(self._labels)
        if number >= len(self._weights):
            more = max(4, number)
            self._weights = np.vstack([self._weights, np.zeros((more, _PLACES), np.float32)])
            self._squares = np.vstack([self._squares, np.full((more, _PLACES), 1e-2, np.float32)])
        self._kept.append(deque(maxlen=_REHEARSED))
        return number

    def _odds(self, at: Places) -> Floats:
        """Return the log-odds of each label, (C,)."""
        total = self._weights[: len(self._labels), at].sum(1)
        return np.asarray(total / np.sqrt(len(at)), np.float32)

    def _learn(self, at: Places, number: int) -> None:
        known = len(self._labels)
        error = -_logistic(self._odds(at))  # (C,)
        error[number] += 1.0
        step = (error / np.sqrt(len(at))).astype(np.float32)[:, None]  # (C, 1)
        self._squares[:known, at] += step * step
        self._weights[:known, at] += np.float32(_RATE) * step / np.sqrt(self._squares[:known, at])

    def _rehearse(self, number: int) -> None:
        """Learn a kept row of another label again, so that a rare one is not drowned."""
        if len(self._labels) < 2:
            return
        self._turn += 1
        other = self._turn % (len(self._labels) - 1)
        other += other >= number
        kept = self._kept[other]
        self._learn(kept[self._turn % len(kept)], other)


def places(text: str) -> Places:
    """Return the distinct places of a text's words, letter groups and length."""
    low = text[:_MAX_LENGTH].lower()
    features = {f"w {token}" for token in _TOKEN.findall(low)}
    padded = f"^{low}$"
    for size in _GRAMS:
        features.update(padded[start : start + size] for start in range(len(padded) - size + 1))
    features.add(f"long {len(text).bit_length()}")
    return np.array(sorted({crc32(f.encode(errors="replace")) % _PLACES for f in features}), np.int64)


def _logistic(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-x.clip(-30.0, 30.0))), np.float32)
