"""The replay reservoir: consumes labelled rows of all times, produces a bounded, balanced sample.

Each class keeps the rows with the lowest keys, a key being the hash of seed and identity (bottom-k sampling:
E. Cohen and H. Kaplan, "Summarizing data using bottom-k sketches", 2007). So what is kept is a uniform sample
of each class, the same in whatever order rows came, and a class that is new takes its share from the large
ones (A. Chrysakis and M.-F. Moens, "Online continual learning from imbalanced data", 2020).
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from trainers.row import Row
from trainers.sides import PARTS

LONGEST_TEXT: Final = 16_384
"""Characters of a text above which a row is not remembered: the reservoir's size is bounded in bytes too."""


class Remembered(msgspec.Struct, frozen=True):
    """A row, and the sha256 of the first dataset that it was in."""

    row: Row
    dataset: str = ""


class Reservoir:
    """At most `capacity` rows, as equally many of each class as there are.

    `quota` is how many of a class are left since something was forgotten; it never rises again, since rows
    that come late would then be kept where earlier ones with lower keys were not.
    """

    def __init__(
        self, capacity: int, seed: int, entries: Iterable[Remembered] = (), quota: int | None = None
    ) -> None:
        self._capacity = capacity
        self._seed = seed
        self.quota = quota
        self._entries = {(entry.row.source, entry.row.id): entry for entry in entries}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> list[Remembered]:
        """Return everything that is remembered, lowest keys first."""
        return sorted(self._entries.values(), key=self._key)

    def offer(self, rows: Iterable[Row], dataset: str = "") -> None:
        """Take rows in; one that is known takes its newest label and text, and keeps its first dataset."""
        for row in rows:
            if len(row.text) > LONGEST_TEXT:
                continue
            known = self._entries.get((row.source, row.id))
            self._entries[row.source, row.id] = Remembered(row, (known.dataset if known else "") or dataset)

    def trim(self) -> None:
        """Forget what exceeds the capacity."""
        kept, quota = self._sample(self._entries.values(), self.quota)
        if len(kept) < len(self._entries):
            self.quota = quota
        self._entries = {(entry.row.source, entry.row.id): entry for entry in kept}

    def draw(self, before: datetime) -> list[Remembered]:
        """Return the sample of what happened before a moment, lowest keys first."""
        return self._sample(entry for entry in self._entries.values() if entry.row.time < before)[0]

    def _sample(self, entries: Iterable[Remembered], most: int | None = None) -> tuple[list[Remembered], int]:
        """Return the lowest keys of each class, and how many of one at most; `most` bounds that."""
        classes: defaultdict[str, list[Remembered]] = defaultdict(list)
        for entry in sorted(entries, key=self._key):
            classes[entry.row.label].append(entry)
        quota = fair_quota([len(part) for part in classes.values()], self._capacity)
        # with more classes than places, as many classes as there are places keep one row
        quota = max(1, quota if most is None else min(quota, most))
        kept = [entry for part in classes.values() for entry in part[:quota]]
        return sorted(kept, key=self._key)[: self._capacity], quota

    def _key(self, entry: Remembered) -> bytes:
        return key(self._seed, entry.row.source, entry.row.id)


def key(seed: int, source: str, event_id: str) -> bytes:
    """Return an event's place in the order of draw; `trainers.reader` says the same in SQL."""
    text = f"{seed}\0{source}\0{event_id}".encode("utf-8", "surrogatepass")
    return hashlib.md5(text, usedforsecurity=False).digest()


def capacity(replay: int) -> int:
    """Return the rows to remember so that about `replay` of them are for training."""
    return replay * PARTS // (PARTS - 2)


def fair_quota(counts: Sequence[int], size: int) -> int:
    """Return the largest per-class number of rows whose sum stays within `size`."""
    left = size
    for rank, count in enumerate(sorted(counts)):
        share = left // (len(counts) - rank)
        if count > share:
            return share
        left -= count
    return max(counts, default=0)


def datasets_of(entries: Iterable[Remembered]) -> Mapping[str, int]:
    """Count remembered rows by the dataset that they were first in."""
    found: defaultdict[str, int] = defaultdict(int)
    for entry in entries:
        if entry.dataset:
            found[entry.dataset] += 1
    return dict(sorted(found.items()))
