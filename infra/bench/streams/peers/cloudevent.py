"""The part of the job that has nothing to do with an engine: bytes of a CloudEvent in, normalised bytes out.

Shared by the Python peers. msgspec is the fastest decoder and validator there is for Python; a strict type
checks the event while decoding it.
"""

from datetime import UTC, datetime

import msgspec


class Reading(msgspec.Struct, gc=False):
    """What makes the sensor reading a CloudEvent, and its values."""

    specversion: str
    id: str
    source: str
    type: str
    time: datetime
    data: dict[str, dict[str, float]]
    datacontenttype: str = ""


decode = msgspec.json.Decoder(Reading).decode
"""Raises `msgspec.ValidationError` for what is no CloudEvent of this kind, `DecodeError` for no JSON."""

Invalid = msgspec.DecodeError
"""The base of both."""

_encode = msgspec.json.Encoder().encode


def normalised(event: Reading) -> bytes:
    """Return the event's JSON with its time in UTC."""
    event.time = event.time.astimezone(UTC)
    return _encode(event)
