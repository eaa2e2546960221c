"""Hands records of the watched topics to the watch of their stream: consumes bytes, produces alerts.

For engines that bring each stream's records together, such as the Flink job; the drift worker, which has all
streams in one place, does the same over whole blocks.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol, TypeVar

from schemas import topics
from schemas.clean import Clean
from schemas.codec import decode
from schemas.copies import Copies
from schemas.dead import Dead
from schemas.drift import DriftAlert
from schemas.errors import Rejected
from schemas.label import Label
from schemas.record import Coordinates
from schemas.release import Swap
from streams.drift.answer import Answer
from streams.drift.batch import CleanBatch
from streams.drift.watch import DriftWatch

WATCHED: Final = (
    topics.CLEAN,
    topics.PREDICTIONS,
    topics.LABELS,
    topics.SWAPS,
    topics.DEAD,
    topics.COPIES,
)

_Read = TypeVar("_Read", Clean, Answer, Label, Swap, Dead, Copies)


class Watched(Protocol):
    """A record of one partition."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


class WatchFeed:
    """One stream's watch, with the topics of an installation as it knows them."""

    def __init__(self, watch: DriftWatch, prefix: str) -> None:
        self._watch = watch
        self.unreadable: Counter[str] = Counter()
        routes: Mapping[topics.Topic, Callable[[Sequence[Watched], datetime], list[DriftAlert]]] = {
            topics.CLEAN: self._clean,
            topics.PREDICTIONS: lambda records, now: watch.predicted(self._read(records, Answer), now),
            topics.LABELS: lambda records, now: watch.labelled(self._read(records, Label), now),
            topics.SWAPS: self._swaps,
            topics.DEAD: self._dead,
            topics.COPIES: self._copies,
        }
        self._routes = {prefix + topic.name: route for topic, route in routes.items()}

    def take(self, records: Sequence[Watched], now: datetime) -> list[DriftAlert]:
        """Take records of one partition, in their order; returns the alerts to write."""
        return self._routes[records[0].topic](records, now)

    def _read(self, records: Sequence[Watched], contract: type[_Read]) -> list[_Read]:
        return [found for _, found in self._numbered(records, contract)]

    def _numbered(self, records: Sequence[Watched], contract: type[_Read]) -> list[tuple[int, _Read]]:
        """Return what can be read, with offsets; the rest is counted and left out."""
        found = []
        for record in records:
            try:
                found.append((record.offset, decode(record.value or b"", contract)))
            except Rejected:
                self.unreadable[record.topic] += 1
        return found

    def _clean(self, records: Sequence[Watched], now: datetime) -> list[DriftAlert]:
        numbered = self._numbered(records, Clean)
        offsets, events = [offset for offset, _ in numbered], [clean for _, clean in numbered]
        return self._watch.clean(CleanBatch(records[0].topic, records[0].partition, offsets, events), now)

    def _swaps(self, records: Sequence[Watched], now: datetime) -> list[DriftAlert]:
        for swap in self._read(records, Swap):
            self._watch.swapped(swap)
        return []

    def _dead(self, records: Sequence[Watched], now: datetime) -> list[DriftAlert]:
        return [alert for dead in self._read(records, Dead) for alert in self._watch.rejected(dead, now)]

    def _copies(self, records: Sequence[Watched], now: datetime) -> list[DriftAlert]:
        alerts: list[DriftAlert] = []
        for offset, copies in self._numbered(records, Copies):
            at = Coordinates(records[0].topic, records[0].partition, offset)
            alerts += self._watch.dropped(copies, at, now)
        return alerts
