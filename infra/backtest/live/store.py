"""Labelled events in memory: consumes clean events and their labels, produces data sets to train on.

The rules are `trainers.reader`'s: the newest rows since a moment, and a balanced reservoir of older ones.
"""

from bisect import bisect_left, insort
from collections import defaultdict
from datetime import datetime
from hashlib import blake2b

from schemas.clean import Clean
from schemas.config import Learn
from schemas.record import Coordinates
from trainers.dataset import HELD_OUT, Dataset, Row, split
from trainers.reader import fair_quota


class Store:
    """All labelled rows, in the order in which their labels came."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._times: list[datetime] = []  # sorted
        self.labels: set[str] = set()

    def add(self, clean: Clean, at: Coordinates, label: str) -> None:
        """Take an event that lies at `at` on `events.clean`, and its label."""
        row = Row(
            source=clean.source,
            id=clean.id,
            time=clean.time,
            event=at,
            label=label,
            text=clean.text,
            values=clean.values,
        )
        self._rows.append(row)
        insort(self._times, row.time)
        self.labels.add(label)

    def count(self, since: datetime | None) -> int:
        """Return how many rows there are since a moment of event time, or at all."""
        return len(self._times) - (bisect_left(self._times, since) if since else 0)

    def dataset(self, learn: Learn, since: datetime | None) -> Dataset:
        """Return recent rows and a replay reservoir; without `since`, all are recent.

        Raises:
            Fatal: there are too few rows to train on and evaluate with.
        """
        newest = sorted(self._rows, key=lambda row: row.time, reverse=True)
        if since is None:
            return split(newest[: learn.recent + learn.replay])
        recent = [row for row in newest if row.time >= since][: learn.recent]
        old = [row for row in newest if row.time < since]
        return split(recent, _reservoir(old, learn.replay) if learn.replay else [])


def _reservoir(rows: list[Row], size: int) -> list[Row]:
    """Draw about `size` training rows, equally many of each class if there are, and a fifth held out."""
    classes: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        classes[row.label].append(row)
    quota = fair_quota([len(part) for part in classes.values()], size + size // (HELD_OUT - 1))
    return [row for part in classes.values() for row in sorted(part, key=_drawn)[:quota]]


def _drawn(row: Row) -> bytes:
    return blake2b(f"{row.source}\0{row.id}".encode(), digest_size=8).digest()
