"""Terms of texts: consumes the rows of a reference and of a window, produces the terms that came or went.

Ranked by the log-likelihood ratio of two shares (T. Dunning, "Accurate methods for the statistics of surprise
and coincidence", Computational Linguistics 19, 1993), which does not overrate what is rare.
"""

from collections import Counter
from collections.abc import Sequence
from math import log
from typing import Any, Final, NamedTuple, Self

from streams.drift.rows import Row

_KEPT: Final = 20_000
_LISTED: Final = 12
_LEAST: Final = 10.83
"""What chance exceeds once in a thousand (χ², one degree of freedom)."""


class TermShift(NamedTuple):
    """A term and the shares of events that have it."""

    term: str
    before: float
    after: float


class TermShares:
    """How many events of the reference have each term. Memory: the 20,000 most frequent terms."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._events = len(rows)
        self._counts = dict(Counter(term for row in rows for term in row.terms).most_common(_KEPT))

    def ranked(self, rows: Sequence[Row]) -> list[TermShift]:
        """Return at most twelve terms of a window, the most surprising first; terms without meaning none."""
        found = Counter(term for row in rows for term in row.terms)
        if not self._events or not rows or not (found or self._counts):
            return []
        scored = []
        for term in found.keys() | self._counts.keys():
            before, after = self._counts.get(term, 0), found[term]
            surprise = _surprise(before, self._events, after, len(rows))
            if surprise >= _LEAST:
                scored.append((surprise, TermShift(term, before / self._events, after / len(rows))))
        scored.sort(key=lambda one: (-one[0], one[1].term))
        return [shift for _, shift in scored[:_LISTED]]

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {"events": self._events, "counts": self._counts}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self._events, self._counts = state["events"], dict(state["counts"])

    @classmethod
    def restored(cls, state: dict[str, Any]) -> Self:
        """Make the shares of a snapshot."""
        made = cls(())
        made.restore(state)
        return made


def _surprise(before: int, events_before: int, after: int, events_after: int) -> float:
    """Return twice the log-likelihood ratio of two shares against one that is common to both."""
    pooled = (before + after) / (events_before + events_after)
    return 2.0 * (
        _likelihood(before, events_before, before / events_before)
        + _likelihood(after, events_after, after / events_after)
        - _likelihood(before, events_before, pooled)
        - _likelihood(after, events_after, pooled)
    )


def _likelihood(hits: int, events: int, share: float) -> float:
    found = hits * log(share) if hits else 0.0
    return found + ((events - hits) * log(1.0 - share) if events > hits else 0.0)
