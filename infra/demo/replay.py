"""A recording played back: consumes recorded events, produces a feed at a steady rate."""

import heapq
from collections.abc import Sequence
from itertools import count
from random import Random

from infra.demo.feed import Event, Item, Truth
from infra.demo.recording import Recorded
from schemas.record import Identity


class Replay:
    """The feed of a recording. Events keep the file's order; their labels follow after the delay."""

    def __init__(
        self,
        recorded: Sequence[Recorded],
        *,
        stream: str,
        run: str,
        rate: float,
        seed: int,
        label_delay_s: tuple[float, float] = (2.0, 4.0),
    ) -> None:
        self._recorded = recorded
        self._stream = stream
        self._run = run
        self._rate = rate
        self._random = Random(seed)
        self._delay_s = label_delay_s
        self._next = 0
        self._order = count()
        self._owed: list[tuple[float, int, Item]] = []

    @property
    def exhausted(self) -> bool:
        """Whether the recording's last event was taken; labels may be owed still."""
        return self._next >= len(self._recorded)

    def event(self, number: int, due_s: float) -> Event:
        """Return the recording's event of that number, counted from 0."""
        one = self._recorded[number]
        # Two sources, so that a replay uses more than one partition; an event keeps its own for ever.
        identity = Identity(f"{self._stream}-replay-{number % 2}", f"{self._run}-{number:07d}")
        return Event(due_s, identity, self._stream, one.kind, one.data, one.label, due_s)

    def take(self, until_s: float) -> list[Item]:
        """Return the events due by then, and the labels."""
        items: list[Item] = []
        while not self.exhausted and self._next / self._rate < until_s:
            event = self.event(self._next, self._next / self._rate)
            self._next += 1
            items.append(event)
            if event.label:
                due_s = event.due_s + self._random.uniform(*self._delay_s)
                truth = Truth(due_s, event.identity, event.stream, event.label)
                heapq.heappush(self._owed, (due_s, next(self._order), truth))
        while self._owed and self._owed[0][0] < until_s:
            items.append(heapq.heappop(self._owed)[2])
        return items

    def pending(self) -> list[Item]:
        """Return the labels still owed; no further events come."""
        self._next = len(self._recorded)
        rest = [item for _, _, item in sorted(self._owed)]
        self._owed.clear()
        return rest
