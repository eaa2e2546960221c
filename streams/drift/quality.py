"""Quality of what comes in: consumes outcomes of cleaning, finds ratios that rose and fields that changed.

Of every event it is asked, yes or no: was it rejected; was a reading missing, an outlier, or repaired; was it
late; does it have a field that nobody had, or lack one that everybody had? The first blocks are the
reference. A ratio is worse when `hysteresis` blocks in a row lie above it by more than `margin`, than chance
explains (two proportions, Bonferroni over the ratios) and than its own blocks ever scattered.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, pstdev
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from schemas.clean import NO_FLAGS, Flags
from schemas.config import QualityDrift
from schemas.dead import Dead
from streams.drift.batch import CleanBatch
from streams.drift.rows import Event, event_of

Floats = npt.NDArray[np.float64]

RATIOS: Final = ("rejected", "missing", "outlier", "repaired", "late", "new_field", "absent_field")
_BLOCKS: Final = 8
_USUAL: Final = 0.95
_MOST_FIELDS: Final = 1024
_EXAMPLES: Final = 5
_ALPHA: Final = 1e-6
_Z: Final = NormalDist().inv_cdf(1.0 - _ALPHA / len(RATIOS))
_DEVIATIONS: Final = 4.0


@dataclass(frozen=True)
class Worse:
    """A ratio rose from `before` to `after`, above `threshold`. Times in seconds since 1970."""

    ratio: str
    before: float
    after: float
    threshold: float
    since: float
    to: float
    events: int
    first: Event
    examples: list[Event]
    details: dict[str, int]
    """Reasons of what was rejected, or names of the fields concerned, and how often."""


class _Block:
    """Counts of a run of events."""

    def __init__(self) -> None:
        self.events = 0
        self.hits = dict.fromkeys(RATIOS, 0)
        self.details: dict[str, Counter[str]] = {ratio: Counter() for ratio in RATIOS}
        self.examples: dict[str, list[Event]] = {ratio: [] for ratio in RATIOS}
        self.times = (float("inf"), float("-inf"))

    def seen(self, times: Floats) -> None:
        """Count events by their times `(n,)`."""
        self.events += times.size
        self.times = (min(self.times[0], float(times.min())), max(self.times[1], float(times.max())))

    def hit(self, event: Event, hits: Mapping[str, tuple[str, ...]]) -> None:
        """Note the ratios that an event adds to, each with what is to be said of it."""
        for ratio, details in hits.items():
            self.hits[ratio] += 1
            self.details[ratio].update(details[:8])
            if len(self.examples[ratio]) < _EXAMPLES:
                self.examples[ratio].append(event)


class QualityWatch:
    """One stream's ratios. Memory: one block's counts, the reference's, and up to 1,024 names of fields."""

    def __init__(self, config: QualityDrift, hysteresis: int) -> None:
        self._config = config
        self._hysteresis = hysteresis
        self._rates: dict[str, list[float]] = {ratio: [] for ratio in RATIOS}
        self._fields: Counter[str] = Counter()  # of the reference's accepted events
        self._accepted = 0
        self._usual: frozenset[str] = frozenset()
        self._plain: set[tuple[str, ...]] = set()  # fields, in their order, of which nothing is to be said
        self._block = _Block()
        self._streaks = dict.fromkeys(RATIOS, 0)
        self._began: dict[str, tuple[float, Event]] = {}
        self._nearest = (RATIOS[0], 0.0, config.margin)
        self.quiet = 0
        self.observations = 0

    def nearest(self) -> tuple[str, float, float]:
        """Return name, value and threshold of the ratio nearest to its threshold in the latest block."""
        return self._nearest

    @property
    def readiness(self) -> float:
        """Share of the reference that has come."""
        return len(self._rates[RATIOS[0]]) / _BLOCKS

    def accepted(self, batch: CleanBatch) -> list[Worse]:
        """Take events that passed; returns what they complete the evidence for."""
        found: list[Worse] = []
        start = 0
        while start < len(batch.events):
            stop = min(len(batch.events), start + self._config.min_events - self._block.events)
            self._block.seen(batch.times[start:stop])
            self._look_at(batch, start, stop)
            found += self._complete()
            start = stop
        return found

    def rejected(self, dead: Dead) -> list[Worse]:
        """Take an event that was rejected; returns what it completes the evidence for."""
        at = dead.raw
        event = (at.topic, at.partition, at.offset, dead.source, dead.id)
        self._block.seen(np.array([dead.rejected_at.timestamp()]))
        self._block.hit(event, {"rejected": (dead.reason.value,)})
        return self._complete()

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
                self._block.hit(batch.event(index), hits)

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
        """Close the block once it is full; the first ones are the reference."""
        if self._block.events < self._config.min_events:
            return []
        block, self._block = self._block, _Block()
        self.observations = block.events
        if self.readiness < 1.0:
            for ratio in RATIOS:
                self._rates[ratio].append(block.hits[ratio] / block.events)
            self._usual = frozenset(
                name for name, count in self._fields.items() if count >= _USUAL * self._accepted
            )
            return []
        return self._judge(block)

    def _judge(self, block: _Block) -> list[Worse]:
        found, above = [], False
        levels = {
            ratio: (block.hits[ratio] / block.events, self._threshold(ratio, block.events))
            for ratio in RATIOS
        }
        nearest = max(levels, key=lambda ratio: levels[ratio][0] / levels[ratio][1])
        self._nearest = (nearest, *levels[nearest])
        for ratio, (rate, threshold) in levels.items():
            if rate <= threshold:
                self._streaks[ratio] = 0
                self._began.pop(ratio, None)
                continue
            above = True
            self._streaks[ratio] += 1
            since, first = self._began.setdefault(ratio, (block.times[0], block.examples[ratio][0]))
            if self._streaks[ratio] >= self._hysteresis:
                worse = Worse(
                    ratio=ratio,
                    before=self._before(ratio),
                    after=rate,
                    threshold=threshold,
                    since=since,
                    to=block.times[1],
                    events=block.events,
                    first=first,
                    examples=block.examples[ratio],
                    details=dict(block.details[ratio].most_common(8)),
                )
                found.append(worse)
        self.quiet = 0 if above else self.quiet + 1
        return found

    def _before(self, ratio: str) -> float:
        rates = self._rates[ratio]
        return sum(rates) / len(rates) if rates else 0.0

    def _threshold(self, ratio: str, events: int) -> float:
        before, known = self._before(ratio), _BLOCKS * self._config.min_events
        p = max(before, 1.0 / known)
        chance = _Z * sqrt(p * (1.0 - p) * (1.0 / events + 1.0 / known))
        return before + max(self._config.margin, chance, _DEVIATIONS * pstdev(self._rates[ratio]))

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values; the block that fills is begun anew after a restart."""
        return {
            "rates": self._rates,
            "fields": dict(self._fields),
            "accepted": self._accepted,
            "usual": sorted(self._usual),
            "streaks": self._streaks,
            "began": {ratio: [since, list(first)] for ratio, (since, first) in self._began.items()},
            "quiet": self.quiet,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self._rates = {ratio: list(rates) for ratio, rates in state["rates"].items()}
        self._fields = Counter(state["fields"])
        self._accepted = state["accepted"]
        self._usual = frozenset(state["usual"])
        self._streaks = dict(state["streaks"])
        self._began = {ratio: (since, event_of(first)) for ratio, (since, first) in state["began"].items()}
        self.quiet = state["quiet"]


def _flagged(flags: Flags) -> dict[str, tuple[str, ...]]:
    """Return the ratios that what cleaning did to an event adds to."""
    said = {"missing": flags.imputed, "outlier": flags.outlier, "repaired": flags.repaired}
    hits = {ratio: names for ratio, names in said.items() if names}
    if flags.late:
        hits["late"] = ()
    return hits
