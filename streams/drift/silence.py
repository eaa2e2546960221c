"""Silence of sources: consumes whose events come and when, finds those that stopped sending.

Times are those of arrival, for a silent source has no events whose time could be asked.
"""

from collections import OrderedDict
from collections.abc import Iterable
from itertools import takewhile
from typing import Any, Final

_MOST_SOURCES: Final = 10_000
_LISTED: Final = 20


class SilenceWatch:
    """The sources of one stream, the longest silent first. Memory: 10,000 sources, the newest kept.

    A source is forgotten when it was silent ten times as long as it may be: it is gone, and was told.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._seen: OrderedDict[str, float] = OrderedDict()

    def take(self, after_s: float) -> None:
        """Go on with another time after which a source is silent."""
        self._after_s = after_s

    def seen(self, sources: Iterable[str], now_s: float) -> None:
        """Note that events of sources came at `now_s` (seconds since 1970)."""
        if not self._after_s:
            return
        for source in sources:
            self._seen[source] = now_s
            self._seen.move_to_end(source)
            if len(self._seen) > _MOST_SOURCES:
                self._seen.popitem(last=False)

    def silent(self, now_s: float) -> list[tuple[str, float]]:
        """Return the sources that sent nothing for too long, with when they last did, at most twenty."""
        if not self._after_s:
            return []
        while self._seen and now_s - next(iter(self._seen.values())) > 10 * self._after_s:
            self._seen.popitem(last=False)
        found = takewhile(lambda item: now_s - item[1] > self._after_s, self._seen.items())
        return [item for item, _ in zip(found, range(_LISTED), strict=False)]

    def snapshot(self) -> list[list[Any]]:
        """Return the state as plain values."""
        return [[source, at] for source, at in self._seen.items()]

    def restore(self, state: list[list[Any]]) -> None:
        """Go on from a snapshot."""
        self._seen = OrderedDict((source, at) for source, at in state)
