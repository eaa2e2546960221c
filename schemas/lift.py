"""Older payloads of `events.raw`, and how each becomes the current one: publishers upgrade when they like.

Version 1 carried one reading per sensor event, a whole URL per request and a bare line per log event.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec

from schemas.errors import Reason, Rejected
from schemas.raw import CURRENT_VERSION, PAYLOADS, ApiRequest, LogLine, Payload, SensorReading, event_type
from schemas.record import Kind


class SensorReadingV1(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One reading of one sensor."""

    sensor: str
    value: float | int | str | None
    unit: str = ""


class ApiRequestV1(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request with its URL as sent: absolute, or from the path on."""

    url: str
    method: str = "GET"
    body: str = ""
    status: int | None = None
    duration_ms: float | None = None
    client_ip: str = ""
    user_agent: str = ""
    headers: dict[str, str] = {}


class LogLineV1(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a log."""

    line: str
    level: str = ""
    logger: str = ""
    host: str = ""


_ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


def _sensor(payload: SensorReadingV1) -> SensorReading:
    if not payload.sensor:
        raise Rejected(Reason.MISSING_FIELD, "`sensor` is empty; name the sensor", "data.sensor")
    units = {payload.sensor: payload.unit} if payload.unit else {}
    return SensorReading(values={payload.sensor: payload.value}, units=units)


def _api(payload: ApiRequestV1) -> ApiRequest:
    origin = _ORIGIN.match(payload.url)
    target = payload.url[origin.end() :] if origin else payload.url
    path, _, query = target.partition("#")[0].partition("?")
    return ApiRequest(
        method=payload.method,
        path=path or "/",
        query=query,
        body=payload.body,
        status=payload.status,
        duration_ms=payload.duration_ms,
        client_ip=payload.client_ip,
        user_agent=payload.user_agent,
        headers=payload.headers,
    )


def _log(payload: LogLineV1) -> LogLine:
    return LogLine(message=payload.line, level=payload.level, logger=payload.logger, host=payload.host)


_FIRST: Final[dict[Kind, type[msgspec.Struct]]] = {
    Kind.SENSOR: SensorReadingV1,
    Kind.API: ApiRequestV1,
    Kind.LOG: LogLineV1,
}
_LIFTS: Final[dict[type[msgspec.Struct], Callable[[Any], Payload]]] = {
    SensorReadingV1: _sensor,
    ApiRequestV1: _api,
    LogLineV1: _log,
}


@cache
def payload_types() -> dict[str, tuple[Kind, type[msgspec.Struct]]]:
    """Return every accepted CloudEvents `type` with its kind and the shape of its `data`."""
    current = {event_type(kind, CURRENT_VERSION): (kind, shape) for kind, shape in PAYLOADS.items()}
    first = {event_type(kind, 1): (kind, shape) for kind, shape in _FIRST.items()}
    return {**first, **current}


def lift(payload: msgspec.Struct) -> Payload:
    """Return the payload in the current version; one that is current already is returned as it is.

    Raises:
        Rejected: the older payload has no meaning in the current version.
    """
    rise = _LIFTS.get(type(payload))
    return payload if rise is None else rise(payload)  # type: ignore[return-value]  # all else is current
