"""How many events one transaction takes: consumes how long batches took, produces the next one's size.

64 texts that the model has to read cost two cores a quarter of a second; 64 that the cache knows cost nothing
but their transaction. So a batch grows while it is answered soon, and shrinks at once when it is not.
"""

from typing import Final

LEAST: Final = 64
_SLOW_S: Final = 0.25
_SOON_S: Final = 0.05
_BRIEF_ROWS: Final = 8
_BRIEF_S: Final = 0.06


class Pace:
    """The size of the next batch, in rows: it grows to `most` while a batch takes `soon_s`, not `slow_s`."""

    def __init__(
        self, most: int, least: int = LEAST, soon_s: float = _SOON_S, slow_s: float = _SLOW_S
    ) -> None:
        self.most = most
        self._least = least
        self._soon_s = soon_s
        self._slow_s = slow_s
        self.rows = min(least, most)

    @classmethod
    def brief(cls, most: int) -> "Pace":
        """Return the pace of batches that something urgent waits for."""
        return cls(most, _BRIEF_ROWS, _BRIEF_S / 3, _BRIEF_S)

    def at_most(self, most: int) -> None:
        """Take no more than so many rows from here on."""
        self.most = most
        self.rows = min(self.rows, most)

    def took(self, rows: int, seconds: float) -> None:
        """Learn from a batch of one partition; one that was not full says nothing about larger ones."""
        if seconds > self._slow_s:
            self.reset()
        elif seconds < self._soon_s and 2 * rows >= self.rows:  # a round's rows may be of two partitions
            self.rows = min(self.most, 2 * self.rows)

    def reset(self) -> None:
        """Begin anew: another version answers, whose answers no cache knows."""
        self.rows = min(self._least, self.most)
