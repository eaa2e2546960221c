"""Which side of a dataset an event is on: consumes identity and event time, produces what it is for.

Nobody but the event itself decides: of ten, by the hash of `(source, id)`, eight are for training, one for
validation and one for the test, in every run. Beside these the newest tenth of what came since the last
split is for the test, so that a candidate is also judged on what lies after all it learnt from; such a span
of event time is remembered and stays for the test.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final

import msgspec

PARTS: Final = 10
"""Of so many events one is for the test, one for validation, by hash; and one of the newest, by time."""

_SPANS: Final = 10_000
"""Spans of time that are remembered: more than fifty runs a day make while the warehouse keeps an event."""


class Side(StrEnum):
    """What a row is for."""

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"


def side_by_hash(source: str, event_id: str) -> Side:
    """Return the side of an event by its identity alone, the same in every process."""
    digest = hashlib.blake2b(f"{source}\0{event_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    number = int.from_bytes(digest) % PARTS
    return {0: Side.TEST, PARTS // 2: Side.VALIDATION}.get(number, Side.TRAINING)


class Sides(msgspec.Struct, frozen=True, kw_only=True):
    """The split so far: spans of event time held out for the test, ascending, and how far it has come.

    A row never goes from training to the test: a span begins after everything that was split before it.
    """

    held: tuple[tuple[datetime, datetime], ...] = ()
    until: datetime | None = None

    def of(self, source: str, event_id: str, time: datetime) -> Side:
        """Return the side of an event."""
        at = bisect_right(self.held, time, key=lambda span: span[0]) - 1
        if at >= 0 and time <= self.held[at][1]:
            return Side.TEST
        return side_by_hash(source, event_id)

    def extended(self, times: Iterable[datetime]) -> "Sides":
        """Return the split with the newest tenth of the times that are new to it held out.

        Times that are equal stay together: where that would hold out more than two tenths, those that tie
        are trained on.
        """
        new = sorted(time for time in times if self.until is None or time > self.until)
        if not new:
            return self
        held, count = self.held, len(new) // PARTS
        if count:
            newest = [time for time in new if time >= new[-count]]
            if len(newest) > 2 * count:
                newest = [time for time in newest if time > newest[0]]
            if newest:
                held = (*held, (newest[0], newest[-1]))[-_SPANS:]
        return Sides(held=held, until=new[-1])
