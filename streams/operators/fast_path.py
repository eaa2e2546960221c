"""The fast path of plain sensor readings: consumes a batch's records, produces clean events natively.

Nearly every reading is plain: a CloudEvent as JSON that needs no repair, on time, with readings that its
source sent before, within their limits. Native code takes such an event from its bytes to the clean event's
in about a microsecond; whatever else comes is left to the operators in Python, in its place in the order, and
both work on the same memory. The operators say what is right: tests compare the two ways byte by byte.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, Self

from headrace_native import FastPath, Outbox, Parsed, RecordBlock

from schemas.event_time import EPOCH
from schemas.raw import SensorReading
from schemas.record import Incoming
from schemas.refusal import MAX_NAME_BYTES
from streams.operators.cleaner import Cleaner
from streams.operators.home import Home
from streams.operators.outliers import MIN_READINGS, RENEWAL

_MICROSECOND: Final = timedelta(microseconds=1)


class SensorPath:
    """The fast path of those sensor streams of a lane whose configuration native code knows."""

    def __init__(self, cleaners: Sequence[Cleaner], unnamed: Cleaner | None, home: Home | None) -> None:
        self._cleaners = cleaners
        self._on_time: list[tuple[int, int]] = []
        self._native = FastPath(
            unnamed=cleaners.index(unnamed) if unnamed in cleaners else None,
            home_of=None if home is None else home.of_source,
            partitions=1 if home is None else home.partitions,
            max_name=MAX_NAME_BYTES // 4,
            min_readings=MIN_READINGS,
            renewal=RENEWAL,
        )
        for cleaner in cleaners:
            outliers = cleaner.normalise.outliers
            self._native.add_plan(
                cleaner.name,
                max_bytes=cleaner.limit,
                rekey=cleaner.rekey,
                ranges=cleaner.normalise.ranges,
                remembers=outliers.remembers,
                judges=outliers.judges,
                hampel=outliers.hampel_sigmas,
                dedupe=cleaner.dedupe,
                history=cleaner.normalise.history.of,
                renewed=outliers.renewed,
            )

    @classmethod
    def of(cls, cleaners: Iterable[Cleaner], home: Home | None) -> Self | None:
        """Make the fast path of these streams; None if it has nothing to do for them."""
        sensors = [cleaner for cleaner in cleaners if cleaner.shape is SensorReading]
        plain = [cleaner for cleaner in sensors if not cleaner.adds]
        return cls(plain, sensors[0], home) if plain else None

    def parse(self, records: Sequence[Incoming], met: int) -> tuple[RecordBlock, Parsed]:
        """Read the plain events of a batch that was met in partition `met`."""
        block = RecordBlock.of(records)
        self._on_time = [
            (_micros(earliest), _micros(latest))
            for earliest, latest in (cleaner.normalise.on_time for cleaner in self._cleaners)
        ]
        return block, self._native.parse(block, met)

    def keys(self, parsed: Parsed, cleaner: Cleaner) -> list[bytes]:
        """Return the fingerprints of a stream's plain events."""
        return parsed.keys(self._cleaners.index(cleaner)) if cleaner in self._cleaners else []

    def clean(self, parsed: Parsed, at: int, outbox: Outbox) -> int:
        """Clean from event `at` on; return the index of the next that is for Python, or their number."""
        long_ago = [cleaner.long_ago for cleaner in self._cleaners]
        return self._native.clean(parsed, at, outbox, long_ago, self._on_time)

    def count(self) -> None:
        """Add what was counted to the streams' tallies."""
        for plan, cleaner in enumerate(self._cleaners):
            accepted, duplicates, newest = self._native.tally(plan)
            cleaner.tally.duplicates += duplicates
            if accepted:
                cleaner.tally.accepted += accepted
                cleaner.tally.newest = EPOCH + timedelta(microseconds=newest)


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // _MICROSECOND
