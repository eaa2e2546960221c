"""Events that an internal topic carries unchanged to a later batch of cleaning, forwarded or parked.

Here is what they were on `events.raw`, and how large they may be.
"""

from typing import Final, NamedTuple

from schemas.record import Incoming

MAX_CARRIED_BYTES: Final = 896 * 1024
"""Most bytes of value, key and headers together that fit one batch of a producer, beside its framing."""


class Original(NamedTuple):
    """A carried record as it lay on `events.raw`; has the shape of `schemas.record.Incoming`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


def carried_bytes(record: Incoming, key: str | bytes, headers: tuple[tuple[str, bytes], ...]) -> int:
    """Return the size that counts against `MAX_CARRIED_BYTES`."""
    return len(record.value or b"") + len(key) + sum(len(name) + len(held or b"") for name, held in headers)
