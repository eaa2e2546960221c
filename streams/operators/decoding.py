"""What decoding an event needs to know of all streams, before it is known whose the event is."""

from collections.abc import Iterable
from typing import NamedTuple, Self

from schemas.config import Stream
from schemas.envelope import DEFAULT_MAX_BYTES


class Decoding(NamedTuple):
    """The largest event that some stream accepts, in bytes, and whether some stream has UTF-8 repaired."""

    max_bytes: int
    repair: bool

    @classmethod
    def of(cls, streams: Iterable[Stream]) -> Self:
        """Return what holds for these streams."""
        cleaning = [stream.clean for stream in streams]
        largest = max((clean.max_bytes for clean in cleaning), default=DEFAULT_MAX_BYTES)
        return cls(largest, any(clean.utf8 == "repair" for clean in cleaning))
