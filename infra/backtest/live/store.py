"""Labelled events in memory: consumes clean events and their labels, produces data sets to train on.

The rules are `trainers.reader`'s: the newest rows since a moment, and a balanced reservoir of older ones.
"""

from bisect import bisect_left, insort
from datetime import datetime

from schemas.clean import Clean
from schemas.config import Learn
from schemas.record import Coordinates
from trainers.dataset import Dataset
from trainers.memory import Memory, Origin
from trainers.row import Row


class Store:
    """All labelled rows, in the order in which their labels came."""

    def __init__(self) -> None:
        self._rows: list[Row] = []
        self._memory = Memory()
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

    def dataset(self, learn: Learn, since: datetime | None, memory: Memory | None = None) -> Dataset:
        """Return recent rows and a replay reservoir; without `since`, all are recent.

        `memory` is that of another learner than the stream's.

        Raises:
            Fatal: there are too few rows to train on and evaluate with.
        """
        memory = memory or self._memory
        newest = sorted(self._rows, key=lambda row: row.time, reverse=True)
        if since is None:
            return memory.dataset(learn, newest[: learn.recent + learn.replay], [], None, Origin())
        recent = [row for row in newest if row.time >= since][: learn.recent]
        old = [row for row in newest if row.time < since]
        return memory.dataset(learn, recent, old, since, Origin())
