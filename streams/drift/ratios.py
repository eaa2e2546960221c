"""Ratios that must not rise: consumes yes or no of every event, finds those that rose, block by block.

The first blocks are the reference. A ratio is worse when `hysteresis` blocks in a row lie above it by more
than `margin`, than chance explains (two proportions, Bonferroni over the ratios) and than its own blocks ever
scattered.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, pstdev
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from schemas.config import QualityDrift
from streams.drift.rows import Event, event_of

Floats = npt.NDArray[np.float64]
_BLOCKS: Final = 8
_EXAMPLES: Final = 5
_ALPHA: Final = 1e-6
_DEVIATIONS: Final = 4.0
_TOLD: Final = 8


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

    def __init__(self, ratios: Sequence[str]) -> None:
        self.events = 0
        self.hits = dict.fromkeys(ratios, 0)
        self.details: dict[str, Counter[str]] = {ratio: Counter() for ratio in ratios}
        self.examples: dict[str, list[Event]] = {ratio: [] for ratio in ratios}
        self.times = (float("inf"), float("-inf"))


class Ratios:
    """Ratios that are asked of the same events. Memory: one block's counts, and eight rates a ratio."""

    def __init__(self, names: Sequence[str], config: QualityDrift, hysteresis: int) -> None:
        self._names = tuple(names)
        self._config = config
        self._hysteresis = hysteresis
        self._z = NormalDist().inv_cdf(1.0 - _ALPHA / len(self._names))
        self._rates: dict[str, list[float]] = {name: [] for name in self._names}
        self._block = _Block(self._names)
        self._streaks = dict.fromkeys(self._names, 0)
        self._began: dict[str, tuple[float, Event]] = {}
        self.nearest = (self._names[0], 0.0, config.margin)
        """Name, value and threshold of the ratio nearest to its threshold in the latest block."""
        self.quiet = 0
        self.observations = 0

    def take(self, config: QualityDrift, hysteresis: int) -> None:
        """Go on by another configuration; the reference stays."""
        self._config, self._hysteresis = config, hysteresis

    @property
    def readiness(self) -> float:
        """Share of the reference that has come."""
        return len(self._rates[self._names[0]]) / _BLOCKS

    @property
    def room(self) -> int:
        """How many events the block still takes."""
        return max(1, self._config.min_events - self._block.events)

    def seen(self, times: Floats, events: int | None = None) -> None:
        """Count events by their times `(n,)`; `events` tells how many, where not each has a time."""
        self._block.events += times.size if events is None else events
        earliest, latest = self._block.times
        self._block.times = (min(earliest, float(times.min())), max(latest, float(times.max())))

    def hit(self, event: Event, hits: Mapping[str, tuple[str, ...]], times: int = 1) -> None:
        """Note the ratios that an event adds to, each with what is to be said of it."""
        block = self._block
        for ratio, details in hits.items():
            block.hits[ratio] += times
            block.details[ratio].update(details[:_TOLD])
            if len(block.examples[ratio]) < _EXAMPLES:
                block.examples[ratio].append(event)

    def complete(self) -> list[Worse]:
        """Close the block if it is full, and return what rose."""
        if self._block.events < self._config.min_events:
            return []
        block, self._block = self._block, _Block(self._names)
        self.observations = block.events
        if self.readiness < 1.0:
            for ratio in self._names:
                self._rates[ratio].append(block.hits[ratio] / block.events)
            return []
        return self._judge(block)

    def _judge(self, block: _Block) -> list[Worse]:
        found, above = [], False
        levels = {
            ratio: (block.hits[ratio] / block.events, self._threshold(ratio, block.events))
            for ratio in self._names
        }
        nearest = max(levels, key=lambda ratio: levels[ratio][0] / levels[ratio][1])
        self.nearest = (nearest, *levels[nearest])
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
                    details=dict(block.details[ratio].most_common(_TOLD)),
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
        chance = self._z * sqrt(p * (1.0 - p) * (1.0 / events + 1.0 / known))
        return before + max(self._config.margin, chance, _DEVIATIONS * pstdev(self._rates[ratio]))

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values; the block that fills is begun anew after a restart."""
        return {
            "rates": self._rates,
            "streaks": self._streaks,
            "began": {ratio: [since, list(first)] for ratio, (since, first) in self._began.items()},
            "quiet": self.quiet,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self._rates = {ratio: list(rates) for ratio, rates in state["rates"].items()}
        self._streaks = dict(state["streaks"])
        self._began = {ratio: (since, event_of(first)) for ratio, (since, first) in state["began"].items()}
        self.quiet = state["quiet"]
