"""How often each event was seen in one place: consumes event numbers, produces what is lost and doubled.

One byte per event: 300,000 events take 300 kB in each of the places that are compared.
"""

from collections.abc import Iterable
from typing import Final

_MOST: Final = 255


class Copies:
    """Counts per event number, from 0 to `size` - 1; a number outside is kept apart as foreign.

    `seen` holds one byte per number, which stops at 255.
    """

    def __init__(self, size: int) -> None:
        self.seen = bytearray(size)
        self.distinct = 0
        self.total = 0
        self.foreign: list[str] = []

    def add(self, event_id: str, times: int = 1) -> None:
        """Count an id as seen (so many times)."""
        self.total += times
        if not event_id.isdecimal() or int(event_id) >= len(self.seen):
            self.foreign.append(event_id)
            return
        number = int(event_id)
        before = self.seen[number]
        self.distinct += before == 0
        self.seen[number] = min(_MOST, before + times)

    def lost(self, sent: "Copies") -> list[int]:
        """Return the numbers that were sent and are not here."""
        return [
            number
            for number, (there, here) in enumerate(zip(sent.seen, self.seen, strict=True))
            if there and not here
        ]

    def doubled(self) -> list[int]:
        """Return the numbers that are here more than once."""
        return [number for number, here in enumerate(self.seen) if here > 1]

    def unsent(self, sent: "Copies") -> list[str]:
        """Return what is here and was never sent: foreign ids, and numbers that nobody published."""
        numbers: Iterable[int] = (
            number
            for number, (there, here) in enumerate(zip(sent.seen, self.seen, strict=True))
            if here and not there
        )
        return [*self.foreign, *map(str, numbers)]
