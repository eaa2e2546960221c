"""What the sensor operators remember of each source: a bounded window of recent readings per name.

At most `MAX_KEYS` sources are remembered, the least recently seen forgotten first; each name of a source
keeps its last `WINDOW` readings. 10,000 sources of ten readings are about 60 MB.
"""

from collections import OrderedDict, deque
from typing import Final

WINDOW: Final = 64
MAX_KEYS: Final = 10_000
MAX_NAMES: Final = 256


class Recent:
    """The last readings of one name of one source, and the limits that the outlier test derived from them."""

    __slots__ = ("due", "high", "low", "readings")

    def __init__(self) -> None:
        self.readings: deque[float] = deque(maxlen=WINDOW)
        self.low = float("-inf")
        self.high = float("inf")
        self.due = 0


class History:
    """The recent readings of many sources."""

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._keys: OrderedDict[str, dict[str, Recent]] = OrderedDict()

    def of(self, key: str) -> dict[str, Recent]:
        """Return what is remembered of a source, by name; a new source displaces the one unseen longest."""
        found = self._keys.get(key)
        if found is None:
            found = self._keys[key] = {}
            if len(self._keys) > self._max_keys:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end(key)
        return found

    def snapshot(self) -> list[tuple[str, dict[str, list[float]]]]:
        """Return everything remembered, least recently seen source first."""
        return [
            (
                key,
                {
                    name: [recent.due, recent.low, recent.high, *recent.readings]
                    for name, recent in names.items()
                },
            )
            for key, names in self._keys.items()
        ]

    def restore(self, snapshot: list[tuple[str, dict[str, list[float]]]]) -> None:
        """Remember what a snapshot says, and nothing else."""
        self._keys.clear()
        for key, names in snapshot:
            remembered = self._keys[key] = {}
            for name, (due, low, high, *readings) in names.items():
                recent = remembered[name] = Recent()
                recent.due, recent.low, recent.high = int(due), low, high
                recent.readings.extend(readings)
