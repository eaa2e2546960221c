"""Events of paused streams: `events.raw` in, `events.parked` out, and back in when their stream is resumed.

A parked record is the event as it came; its last header says where, when and under which key it was
published, and in which `epoch` it was parked. An epoch begins with every resumption of a stream, so what was
parked in the present epoch belongs to streams that are paused still: whoever reads the topic back may stop at
the first of them. What is read back before it, and must wait on, is parked again.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from schemas import topics
from schemas.errors import Reason, Rejected
from schemas.record import Incoming, Outgoing
from streams.operators.carried import MAX_CARRIED_BYTES, Original, carried_bytes

HEADER: Final = "headrace-parked"
"""The last header of a parked record: epoch, then its place, time and key on `events.raw`, as JSON."""


class Pauses(NamedTuple):
    """The streams that are paused, since the resumption with the number `epoch`; -1 where there was none."""

    streams: frozenset[str] = frozenset()
    epoch: int = -1


class _Place(NamedTuple):
    epoch: int
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None


_encode: Final = msgspec.json.Encoder().encode
_PLACE: Final = msgspec.json.Decoder(_Place)


def park(record: Incoming, partition: int, epoch: int) -> Outgoing:
    """Make the record that waits in `partition` of `events.parked`.

    Raises:
        Rejected: with its headers it is larger than a batch may be; it can be replayed after the pause.
    """
    place = _Place(epoch, record.topic, record.partition, record.offset, record.timestamp, record.key)
    value = record.value or b""
    headers = (*record.headers, (HEADER, _encode(place)))
    size = carried_bytes(record, record.key or b"", headers)
    if size > MAX_CARRIED_BYTES:
        raise Rejected(
            Reason.OVERSIZED,
            f"{size} bytes with headers; at most {MAX_CARRIED_BYTES} can wait while a stream is paused:"
            " replay it when it is resumed",
        )
    return Outgoing(topics.PARKED.name, record.key, value, partition, headers)


def unpark(records: Sequence[Incoming]) -> list[Incoming]:
    """Return parked records as they lay on `events.raw`; one without a place of its own is taken as it is.

    They come in the order in which they were published to their partition: what was parked more than once may
    lie behind what came later.
    """
    found = [_original(record) for record in records]
    found.sort(key=lambda record: (record.topic, record.partition, record.offset))
    return found


def epoch_of(record: Incoming) -> int:
    """Return the epoch in which a record was parked, -1 if nobody parked it."""
    place = _place(record)
    return -1 if place is None else place.epoch


def _original(record: Incoming) -> Incoming:
    place = _place(record)
    if place is None:
        return record
    return Original(*place[1:], record.value, tuple(record.headers[:-1]))


def _place(record: Incoming) -> _Place | None:
    headers = record.headers
    if not headers or headers[-1][0] != HEADER:
        return None
    try:
        return _PLACE.decode(headers[-1][1] or b"")
    except msgspec.MsgspecError:
        return None  # somebody else's header of that name
