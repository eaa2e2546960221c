"""Batches of what the watches read: records of one stream and one topic's partition, in their order.

A watch that takes many events at once looks at each only as far as it must; times are read once for all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from schemas.clean import Clean
from schemas.record import Coordinates
from streams.drift.answer import Answer
from streams.drift.rows import Event

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CleanBatch:
    """Clean events that lie on a partition of `events.clean`, each at its offset."""

    topic: str
    partition: int
    offsets: Sequence[int]
    events: Sequence[Clean]

    @classmethod
    def of(cls, clean: Clean, at: Coordinates) -> Self:
        """Return the batch of one event."""
        return cls(at.topic, at.partition, (at.offset,), (clean,))

    @cached_property
    def times(self) -> Floats:
        """Event times in seconds since 1970, `(n,)`."""
        return np.array([clean.time.timestamp() for clean in self.events])

    @property
    def partitions(self) -> Ints:
        """The partition of each, `(n,)`."""
        return np.full(len(self.events), self.partition)

    def event(self, index: int) -> Event:
        """Return which event one of the batch is."""
        clean = self.events[index]
        return self.topic, self.partition, self.offsets[index], clean.source, clean.id


@dataclass(frozen=True)
class AnswerBatch:
    """Answers by one version of the champion."""

    answers: Sequence[Answer]

    @cached_property
    def times(self) -> Floats:
        """Times of the events that were answered, in seconds since 1970, `(n,)`."""
        return np.array([answer.event_time.timestamp() for answer in self.answers])

    @cached_property
    def partitions(self) -> Ints:
        """The partitions on which those events lie, `(n,)`."""
        return np.array([answer.event.partition for answer in self.answers])
