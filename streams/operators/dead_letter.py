"""Makes the `events.dead` record of what could not be used: original bytes, reason, and where it lay."""

from datetime import datetime
from typing import Final

from schemas import topics
from schemas.codec import encode
from schemas.dead import Dead
from schemas.envelope import identity_of
from schemas.errors import Rejected
from schemas.record import Coordinates, Incoming, Outgoing

MAX_ORIGINAL_BYTES: Final = 640 * 1024
"""Most bytes kept of a rejected message, so that its record fits a batch once it is base64."""

MAX_EXTRA_BYTES: Final = 32 * 1024
"""Most bytes of key and headers that are kept with it."""


def dead_letter(
    record: Incoming, rejected: Rejected, now: datetime, *, stage: str, stream: str = ""
) -> Outgoing:
    """Make the `events.dead` record of a rejected one, with its identity as far as it can be read."""
    original = record.value or b""
    headers = tuple((name, value or b"") for name, value in record.headers)
    key = record.key
    message = rejected.message[:1000]
    if len(original) > MAX_ORIGINAL_BYTES:
        message += f"; the first {MAX_ORIGINAL_BYTES} of {len(original)} bytes are kept here"
        source = event_id = ""
    else:
        source, event_id, named = identity_of(original, headers)
        stream = stream or named
    extra = len(key or b"") + sum(len(name) + len(value) for name, value in headers)
    if extra > MAX_EXTRA_BYTES:
        message += f"; {extra} bytes of key and headers are not kept here"
        key, headers = None, ()
    dead = Dead(
        reason=rejected.reason,
        message=message,
        field=rejected.field[:600],
        stage=stage,
        raw=Coordinates(record.topic, record.partition, record.offset),
        rejected_at=now,
        stream=stream,
        source=source,
        id=event_id,
        key=key,
        original=original[:MAX_ORIGINAL_BYTES],
        headers=headers,
    )
    return Outgoing(topics.DEAD.name, source.encode() if source else key, encode(dead))
