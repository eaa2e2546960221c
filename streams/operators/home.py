"""Where the copies of an event meet: its home partition. `events.raw` in, `events.rekeyed` out, and back.

An event that came to another partition than its home is forwarded there as it is, with a header that says
where and when it was published; there `original` makes the record of it that was met first. So all copies of
one identity are judged by one dedupe state, whatever keys their publishers used.
"""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import msgspec

from schemas import topics
from schemas.errors import Reason, Rejected
from schemas.record import Incoming, Outgoing
from streams.operators.carried import MAX_CARRIED_BYTES, Original, carried_bytes

HEADER: Final = "headrace-raw"
"""The last header of a forwarded record: its place, time and key on `events.raw`, as a JSON array."""

_MAX_SOURCES: Final = 131_072

Rekey = Literal["auto", "always", "never"]
PartitionOf = Callable[[bytes, int], int]


class _Place(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None


_encode: Final = msgspec.json.Encoder().encode
_PLACE: Final = msgspec.json.Decoder(_Place)


class Home:
    """Says which of `partitions` is an event's home; `partition_of` is the publishers' hash of a key.

    Remembers the home of up to 131,072 sources, so that asking costs next to nothing.
    """

    def __init__(self, partitions: int, partition_of: PartitionOf) -> None:
        self.partitions = partitions
        self._partition_of = partition_of
        self._of_source: dict[str, int] = {}

    def of(self, rekey: Rekey, source: str, key: bytes, met: int) -> int:
        """Return the home of an event with fingerprint `key` that was met in partition `met`."""
        if rekey == "auto":
            home = self._of_source.get(source)
            return self.of_source(source) if home is None else home
        if rekey == "never":
            return met
        # The fingerprint's second half: the first one places it in the compact sets, which would cluster.
        return int.from_bytes(key[8:], "little") % self.partitions

    def of_source(self, source: str) -> int:
        """Return the home of a source's events."""
        if len(self._of_source) >= _MAX_SOURCES:
            self._of_source.clear()
        home = self._partition_of(source.encode("utf-8", "surrogatepass"), self.partitions)
        self._of_source[source] = home
        return home


def forwarded(record: Incoming, source: str, home: int) -> Outgoing:
    """Make the record that goes to partition `home` of `events.rekeyed`.

    Raises:
        Rejected: with its headers it is larger than a batch may be; where it was met it would have passed.
    """
    key = record.key
    place = _encode(_Place(record.topic, record.partition, record.offset, record.timestamp, key))
    value = record.value or b""
    headers = (*record.headers, (HEADER, place))
    size = carried_bytes(record, source, headers)
    if size > MAX_CARRIED_BYTES:
        raise Rejected(
            Reason.OVERSIZED,
            f"{size} bytes with headers; at most {MAX_CARRIED_BYTES} can be forwarded to another partition:"
            " publish it with its source as key",
        )
    return Outgoing(topics.REKEYED.name, source.encode("utf-8", "surrogatepass"), value, home, headers)


def original(record: Incoming) -> Incoming:
    """Return the record as it lay on `events.raw`; one that nobody forwarded is taken as it is."""
    headers = record.headers
    if not headers or headers[-1][0] != HEADER:
        return record
    try:
        place = _PLACE.decode(headers[-1][1] or b"")
    except msgspec.MsgspecError:
        return record
    return Original(*place, record.value, tuple(headers[:-1]))
