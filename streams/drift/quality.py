"""Quality of what comes in: consumes outcomes of cleaning, finds ratios that rose and fields that changed.

Of every event it is asked, yes or no: was it rejected; was a reading missing, an outlier, or repaired; was it
late; does it have a field that nobody had, or lack one that everybody had? And of all that was sent: was it a
copy?
"""

from collections import Counter
from typing import Any, Final

import numpy as np

from schemas.clean import NO_FLAGS, Flags
from schemas.config import QualityDrift
from schemas.copies import Copies
from schemas.dead import Dead
from schemas.record import Coordinates
from streams.drift.batch import CleanBatch
from streams.drift.ratios import Ratios, Worse

_OF_EVENTS: Final = ("rejected", "missing", "outlier", "repaired", "late", "new_field", "absent_field")
RATIOS: Final = (*_OF_EVENTS, "duplicate")
_USUAL: Final = 0.95
_MOST_FIELDS: Final = 1024


class QualityWatch:
    """One stream's ratios. Memory: those of `Ratios`, and up to 1,024 names of fields."""

    def __init__(self, config: QualityDrift, hysteresis: int) -> None:
        self._events = Ratios(_OF_EVENTS, config, hysteresis)
        self._copies = Ratios(("duplicate",), config, hysteresis)
        self._fields: Counter[str] = Counter()  # of the reference's accepted events
        self._accepted = 0
        self._usual: frozenset[str] = frozenset()
        self._plain: set[tuple[str, ...]] = set()  # fields, in their order, of which nothing is to be said

    def take(self, config: QualityDrift, hysteresis: int) -> None:
        """Go on by another configuration; the reference stays, and so do the fields that are usual."""
        self._events.take(config, hysteresis)
        self._copies.take(config, hysteresis)

    def nearest(self) -> tuple[str, float, float]:
        """Return name, value and threshold of the ratio nearest to its threshold in the latest blocks."""
        both = self._events.nearest, self._copies.nearest
        return max(both, key=lambda one: one[1] / one[2])

    @property
    def readiness(self) -> float:
        """Share of the reference that has come."""
        return self._events.readiness

    @property
    def observations(self) -> int:
        """How many events the latest block had."""
        return self._events.observations

    @property
    def quiet(self) -> int:
        """How many blocks in a row nothing was over its threshold."""
        ready = [ratios.quiet for ratios in (self._events, self._copies) if ratios.readiness >= 1.0]
        return min(ready, default=0)

    def accepted(self, batch: CleanBatch) -> list[Worse]:
        """Take events that passed; returns what they complete the evidence for."""
        found: list[Worse] = []
        start = 0
        while start < len(batch.events):
            stop = min(len(batch.events), start + self._events.room)
            self._events.seen(batch.times[start:stop])
            self._look_at(batch, start, stop)
            found += self._complete()
            start = stop
        return found

    def rejected(self, dead: Dead) -> list[Worse]:
        """Take an event that was rejected; returns what it completes the evidence for."""
        at = dead.raw
        event = (at.topic, at.partition, at.offset, dead.source, dead.id)
        self._events.seen(np.array([dead.rejected_at.timestamp()]))
        self._events.hit(event, {"rejected": (dead.reason.value,)})
        return self._complete()

    def dropped(self, copies: Copies, at: Coordinates) -> list[Worse]:
        """Take how many of some events were copies; returns what this completes the evidence for."""
        self._copies.seen(np.array([copies.at.timestamp()]), copies.accepted + copies.dropped)
        if copies.dropped:
            event = (at.topic, at.partition, at.offset, "", "")
            self._copies.hit(event, {"duplicate": ()}, copies.dropped)
        return self._copies.complete()

    def _look_at(self, batch: CleanBatch, start: int, stop: int) -> None:
        """Look closer at those of a batch's events that are not like the others."""
        learns = self.readiness < 1.0
        for index, clean in enumerate(batch.events[start:stop], start):
            fields = (*clean.values, *clean.attributes)
            if learns:
                self._accepted += 1
                if len(self._fields) < _MOST_FIELDS:
                    self._fields.update(fields)
                hits = _flagged(clean.flags)
            elif clean.flags is NO_FLAGS and fields in self._plain:
                continue
            else:
                hits = {**_flagged(clean.flags), **self._changed(fields)}
            if hits:
                self._events.hit(batch.event(index), hits)

    def _changed(self, names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        """Return which fields are new, and which of the usual ones are absent."""
        hits = {}
        if len(self._fields) < _MOST_FIELDS and (new := set(names).difference(self._fields)):
            hits["new_field"] = tuple(sorted(new))
        if absent := self._usual.difference(names):
            hits["absent_field"] = tuple(sorted(absent))
        if not hits and len(self._plain) < _MOST_FIELDS:
            self._plain.add(names)
        return hits

    def _complete(self) -> list[Worse]:
        """Close the block of events once it is full; the reference's last one tells the usual fields."""
        learnt = self.readiness < 1.0
        found = self._events.complete()
        if learnt and self.readiness >= 1.0:
            self._usual = frozenset(
                name for name, count in self._fields.items() if count >= _USUAL * self._accepted
            )
        return found

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values; the blocks that fill are begun anew after a restart."""
        return {
            "events": self._events.snapshot(),
            "copies": self._copies.snapshot(),
            "fields": dict(self._fields),
            "accepted": self._accepted,
            "usual": sorted(self._usual),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self._events.restore(state["events"])
        self._copies.restore(state["copies"])
        self._fields = Counter(state["fields"])
        self._accepted = state["accepted"]
        self._usual = frozenset(state["usual"])


def _flagged(flags: Flags) -> dict[str, tuple[str, ...]]:
    """Return the ratios that what cleaning did to an event adds to."""
    said = {"missing": flags.imputed, "outlier": flags.outlier, "repaired": flags.repaired}
    hits = {ratio: names for ratio, names in said.items() if names}
    if flags.late:
        hits["late"] = ()
    return hits
