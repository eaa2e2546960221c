"""The content of an event, as one fingerprint: consumes decoded events, produces keys for `Dedupe`.

Two events of one source with equal time and payload are copies, whatever their ids. Compared is the decoded
form: a payload of an older version is lifted by then, the order of its fields and the spelling of its time
and of whole numbers do not count. Text is compared as sent, for what cleaning masks may be all that differs.
"""

from datetime import UTC
from hashlib import blake2b

import msgspec

from schemas.event_time import parse
from schemas.raw import RawEvent, SensorReading
from streams.operators.fingerprints import FINGERPRINT_BYTES

_encode = msgspec.json.Encoder(order="sorted").encode


def content_fingerprint(event: RawEvent) -> bytes | None:
    """Return the 16-byte fingerprint of source, kind, time and payload.

    None for an event without a readable time: equal content alone makes no duplicate, as half of all log
    lines repeat another one.
    """
    if not event.time:
        return None
    data = event.data
    try:
        time = parse(event.time).astimezone(UTC)
        if isinstance(data, SensorReading):
            values = {name: float(v) if isinstance(v, int) else v for name, v in data.values.items()}
            data = SensorReading(values=values, units=data.units)
        content = _encode((event.source, event.kind, time, data))
    except (ValueError, OverflowError):  # cleaning says what is wrong with it
        return None
    return blake2b(content, digest_size=FINGERPRINT_BYTES, person=b"content").digest()
