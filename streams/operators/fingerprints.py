"""A compact set of 128-bit fingerprints: what dedupe remembers beyond the last few thousand events.

Open addressing with linear probing in two numpy columns, 16 bytes a slot, filled to at most 70 %: 23 to 46
bytes a fingerprint where a Python set of bytes takes 110. Every operation takes a whole batch.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

FINGERPRINT_BYTES: Final = 16
_MAX_LOAD: Final = 0.7
_SMALLEST: Final = 1024

Words = NDArray[np.uint64]


def words_of(packed: bytes) -> Words:
    """View packed fingerprints as two columns of words; a first word of 0 marks a free slot, and reads 1."""
    words = np.frombuffer(packed, dtype="<u8").reshape(-1, 2).copy()  # (N, 2)
    words[words[:, 0] == 0, 0] = 1
    return words


class FingerprintSet:
    """An insert-only set; both words are compared. The first word's low bits say where the search begins."""

    def __init__(self) -> None:
        self._first: NDArray[np.uint64] = np.zeros(_SMALLEST, dtype=np.uint64)  # (slots,)
        self._second: NDArray[np.uint64] = np.zeros(_SMALLEST, dtype=np.uint64)  # (slots,)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def size_bytes(self) -> int:
        """Return the memory taken by the slots."""
        return self._first.nbytes + self._second.nbytes

    def contains(self, words: Words) -> NDArray[np.bool_]:
        """Tell which of the fingerprints (N, 2) are in the set."""
        found = np.zeros(len(words), dtype=np.bool_)
        left = np.arange(len(words))
        first, second = words[:, 0], words[:, 1]
        at = self._home(first)
        while left.size:
            there = self._first[at]
            same = there == first
            if same.any():
                same &= self._second[at] == second
                found[left[same]] = True
            probing = np.flatnonzero((there != 0) & ~same)  # a free slot ends the search
            left, first, second = left[probing], first[probing], second[probing]
            at = (at[probing] + 1) & (len(self._first) - 1)
        return found

    def add(self, words: Words) -> None:
        """Add fingerprints (N, 2); those that are there already, or come twice, count once."""
        words = words[np.lexsort((words[:, 1], words[:, 0]))]
        if len(words) > 1:
            words = words[np.append(True, (words[1:] != words[:-1]).any(axis=1))]
        words = words[~self.contains(words)]
        self._reserve(self._count + len(words))
        self._place(words[:, 0], words[:, 1])
        self._count += len(words)

    def packed(self) -> bytes:
        """Return the fingerprints, 16 bytes each, in no particular order."""
        used = self._first != 0
        return bytes(np.column_stack((self._first[used], self._second[used])).astype("<u8").data)

    def _home(self, first: NDArray[np.uint64]) -> NDArray[np.int64]:
        return (first & np.uint64(len(self._first) - 1)).astype(np.int64)

    def _reserve(self, count: int) -> None:
        size = len(self._first)
        while count > size * _MAX_LOAD:
            size *= 2
        if size != len(self._first):
            used = self._first != 0
            first, second = self._first[used], self._second[used]
            self._first, self._second = np.zeros(size, dtype=np.uint64), np.zeros(size, dtype=np.uint64)
            self._place(first, second)

    def _place(self, first: NDArray[np.uint64], second: NDArray[np.uint64]) -> None:
        """Put distinct new fingerprints into free slots; of several that want one slot, one gets it."""
        at = self._home(first)
        while len(first):
            free = np.flatnonzero(self._first[at] == 0)
            slots = at[free]
            self._first[slots], self._second[slots] = first[free], second[free]
            unplaced = np.flatnonzero((self._first[at] != first) | (self._second[at] != second))
            first, second = first[unplaced], second[unplaced]
            at = (at[unplaced] + 1) & (len(self._first) - 1)
