"""What the sensor operators remember of each source: a bounded window of recent readings per name.

At most `MAX_KEYS` sources with `MAX_SERIES` names in all are remembered, the least recently seen source
forgotten first; each name of a source keeps its last `WINDOW` readings. Full, that is about 90 MB.
"""

import sys
from array import array
from collections import OrderedDict
from typing import Final

WINDOW: Final = 64
MAX_KEYS: Final = 10_000
MAX_NAMES: Final = 256
MAX_SERIES: Final = 100_000
NO_LIMITS: Final = (-sys.float_info.max, sys.float_info.max)
"""Between these lies every reading but the infinities and NaN."""


class Recent:
    """The last readings of one name of one source, and the limits that the outlier test derived from them.

    `readings` is a ring: once it is full, reading number `count` takes the place of the oldest.
    """

    __slots__ = ("count", "high", "low", "readings")

    def __init__(self) -> None:
        self.readings: array[float] = array("d")
        self.low, self.high = NO_LIMITS
        self.count = 0

    def add(self, reading: float) -> int:
        """Remember a reading; return how many there have been."""
        readings = self.readings
        if len(readings) < WINDOW:
            readings.append(reading)
        else:
            readings[self.count % WINDOW] = reading
        self.count += 1
        return self.count

    @property
    def last(self) -> float:
        """The newest reading; there must be one."""
        return self.readings[(self.count - 1) % WINDOW]


class History:
    """The recent readings of many sources."""

    def __init__(self, max_keys: int = MAX_KEYS, max_series: int = MAX_SERIES) -> None:
        self._max_keys = max_keys
        self._max_series = max_series
        self._keys: OrderedDict[str, dict[str, Recent]] = OrderedDict()
        self._series = 0  # of all sources but the one in hand, which its reader may still add to
        self._in_hand: dict[str, Recent] = {}

    def of(self, key: str) -> dict[str, Recent]:
        """Return what is remembered of a source, by name; a new source displaces the one unseen longest."""
        found = self._keys.get(key)
        if found is not None and found is self._in_hand:
            return found
        self._series += len(self._in_hand)
        if found is None:
            found = self._keys[key] = {}
        else:
            self._keys.move_to_end(key)
            self._series -= len(found)
        self._in_hand = found
        while len(self._keys) > self._max_keys or (
            self._series + len(found) > self._max_series and len(self._keys) > 1
        ):
            _, forgotten = self._keys.popitem(last=False)
            self._series -= len(forgotten)
        return found

    def snapshot(self) -> list[tuple[str, dict[str, list[float]]]]:
        """Return everything remembered, least recently seen source first."""
        return [
            (
                key,
                {
                    name: [recent.count, recent.low, recent.high, *recent.readings]
                    for name, recent in names.items()
                },
            )
            for key, names in self._keys.items()
        ]

    def restore(self, snapshot: list[tuple[str, dict[str, list[float]]]]) -> None:
        """Remember what a snapshot says, and nothing else."""
        self._keys.clear()
        self._in_hand, self._series = {}, 0
        for key, names in snapshot:
            remembered = self._keys[key] = {}
            for name, (count, low, high, *readings) in names.items():
                recent = remembered[name] = Recent()
                recent.readings.extend(readings[-WINDOW:])
                recent.count, recent.low, recent.high = max(int(count), len(recent.readings)), low, high
            self._series += len(remembered)
