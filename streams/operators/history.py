"""What the sensor operators remember of each source: a bounded window of recent readings per name.

At most `MAX_KEYS` sources with `MAX_SERIES` names in all are remembered, the least recently seen source
forgotten first; each name of a source keeps its last `WINDOW` readings. Full, that is about 90 MB.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from headrace_native import WINDOW, Recent

__all__ = ["MAX_KEYS", "MAX_NAMES", "MAX_SERIES", "WINDOW", "History", "Recent"]

MAX_KEYS: Final = 10_000
MAX_NAMES: Final = 256
MAX_SERIES: Final = 100_000

Remembered = tuple[str, dict[str, list[float]]]
"""A source, and for each name its readings: how many there were, the limits, and the last of them."""


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

    def snapshot(self) -> list[Remembered]:
        """Return everything remembered, least recently seen source first."""
        return [(key, _plain(names)) for key, names in self._keys.items()]

    def changed(self, since: dict[str, int]) -> tuple[list[Remembered], list[str]]:
        """Return the sources with readings since the last call with the same dictionary, and those forgotten.

        The dictionary holds how many readings of each source were told; an empty one asks for everything.
        """
        counts = {key: sum(r.count for r in names.values()) for key, names in self._keys.items()}
        news = [(key, _plain(self._keys[key])) for key, count in counts.items() if since.get(key) != count]
        gone = [key for key in since if key not in counts]
        since.clear()
        since.update(counts)
        return news, gone

    def restore(self, snapshot: Iterable[Remembered]) -> None:
        """Remember what a snapshot says, and nothing else."""
        self._keys.clear()
        self._in_hand, self._series = {}, 0
        for key, names in snapshot:
            remembered = self._keys[key] = {}
            for name, (count, low, high, *readings) in names.items():
                remembered[name] = Recent(readings, int(count), low, high)
            self._series += len(remembered)


def _plain(names: dict[str, Recent]) -> dict[str, list[float]]:
    return {name: [recent.count, recent.low, recent.high, *recent.readings] for name, recent in names.items()}
