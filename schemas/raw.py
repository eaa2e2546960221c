"""What publishers send on `events.raw`: the payloads of the three kinds, inside a CloudEvents 1.0 envelope.

The envelope's `type` says kind and version (`headrace.sensor.reading.v1`); older versions are lifted to the
newest on read (`schemas.lift`).
"""

from typing import Any, Final

import msgspec

from schemas.record import Kind


class SensorReading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Named readings taken at one moment. A `null` is a missing reading; a numeric string is repaired.

    `units` names the unit of a reading where it is not the stream's own (`{"temp": "degF"}`).
    """

    values: dict[str, float | int | str | None]
    units: dict[str, str] = {}


class ApiRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request as a service saw it. Only `method` and `path` are required."""

    method: str
    path: str
    query: str = ""
    body: str = ""
    status: int | None = None
    duration_ms: float | None = None
    client_ip: str = ""
    user_agent: str = ""
    headers: dict[str, str] = {}


class LogLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a log, as written."""

    message: str
    level: str = ""
    logger: str = ""
    host: str = ""


Payload = SensorReading | ApiRequest | LogLine

PAYLOADS: Final[dict[Kind, type[Payload]]] = {
    Kind.SENSOR: SensorReading,
    Kind.API: ApiRequest,
    Kind.LOG: LogLine,
}

TYPES: Final[dict[Kind, str]] = {
    Kind.SENSOR: "headrace.sensor.reading",
    Kind.API: "headrace.api.request",
    Kind.LOG: "headrace.log.line",
}
"""The CloudEvents `type` of each kind, without its version."""

CURRENT_VERSION: Final = 2
"""The version publishers should send; version 1 is lifted on read."""


def event_type(kind: Kind, version: int = CURRENT_VERSION) -> str:
    """Return the CloudEvents `type` of a kind, such as `headrace.api.request.v2`."""
    return f"{TYPES[kind]}.v{version}"


class RawEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded CloudEvent whose payload is still to be cleaned.

    `time` is as sent (any accepted form) and `stream` the extension attribute, both empty when absent.
    `repaired`: bytes of it were no UTF-8 and read U+FFFD now.
    """

    id: str
    source: str
    kind: Kind
    data: Payload
    time: str = ""
    stream: str = ""
    subject: str = ""
    repaired: bool = False


def structured(
    event_id: str,
    source: str,
    kind: Kind,
    data: Payload | dict[str, Any],
    *,
    time: str = "",
    stream: str = "",
) -> dict[str, Any]:
    """Build a CloudEvent in structured mode, ready to be encoded as JSON."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": event_type(kind),
        "datacontenttype": "application/json",
        "data": data,
    }
    if time:
        event["time"] = time
    if stream:
        event["stream"] = stream
    return event
