"""Bad input: consumes a random generator, produces requests and records, each wrong in one way.

Each carries the reason that the gateway or the cleaning stage should give for it.
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final

import msgspec

from infra.demo.feed import BadRecord, Malformed
from infra.demo.shop import normal_request
from schemas.errors import Reason
from schemas.raw import structured
from schemas.record import Kind

_STRUCTURED: Final = "application/cloudevents+json"
_OVERSIZED_BYTES: Final = 300 * 1024  # above the default limit of a stream, below the broker's


def _edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], bytes]:
    def encode(event: dict[str, Any]) -> bytes:
        change(event)
        return msgspec.json.encode(event)

    return encode


def _without(name: str) -> Callable[[dict[str, Any]], bytes]:
    return _edited(lambda event: event.pop(name))


def _with(name: str, value: Any) -> Callable[[dict[str, Any]], bytes]:
    return _edited(lambda event: event.update({name: value}))


def _with_data(name: str, value: Any) -> Callable[[dict[str, Any]], bytes]:
    return _edited(lambda event: event["data"].update({name: value}))


WRONG: Final[tuple[tuple[Reason, Callable[[dict[str, Any]], bytes]], ...]] = (
    (Reason.MALFORMED_JSON, lambda event: msgspec.json.encode(event)[:-7]),
    (Reason.MALFORMED_JSON, lambda _: b"id=1&path=/search"),
    (Reason.MISSING_ID, _without("id")),
    (Reason.MISSING_SOURCE, _without("source")),
    (Reason.UNKNOWN_KIND, _with("type", "com.example.invoice.v1")),
    (Reason.UNKNOWN_VERSION, _with("type", "headrace.api.request.v99")),
    (Reason.UNKNOWN_SPECVERSION, _with("specversion", "0.3")),
    (Reason.UNKNOWN_STREAM, _with("stream", "no-such-stream")),
    (Reason.BAD_TIMESTAMP, _with("time", "yesterday at noon")),
    (Reason.BAD_TIMESTAMP, _with("time", "2026-13-45T99:00:00Z")),
    (Reason.WRONG_TYPE, _with_data("path", 42)),
    (Reason.WRONG_TYPE, _with_data("headers", ["not", "an", "object"])),
    (Reason.MISSING_FIELD, _edited(lambda event: event["data"].pop("method"))),
    (Reason.UNKNOWN_FIELD, _with_data("mehtod", "GET")),
    (Reason.INVALID_UTF8, lambda event: msgspec.json.encode(event).replace(b'"path":"', b'"path":"\xff\xfe')),
    (Reason.EMPTY, lambda _: b""),
)
_OVERSIZED_CHANCE: Final = 0.02


def malformed_request(random: Random, due_s: float, run: str, number: int) -> Malformed:
    """Return an HTTP request that must be answered with a 4xx."""
    reason, body = _wrong(random, run, number)
    return Malformed(due_s, body, _STRUCTURED, reason)


def bad_record(random: Random, due_s: float, run: str, number: int) -> BadRecord:
    """Return a record for `events.raw` that must end on `events.dead`."""
    reason, value = _wrong(random, run, number)
    return BadRecord(due_s, b"shop-legacy", value, reason)


def _wrong(random: Random, run: str, number: int) -> tuple[Reason, bytes]:
    data = msgspec.to_builtins(normal_request(random))
    event = structured(f"{run}-bad-{number}", "shop-legacy", Kind.API, data, stream="requests")
    if random.random() < _OVERSIZED_CHANCE:
        event["data"]["body"] = "x" * _OVERSIZED_BYTES
        return Reason.OVERSIZED, msgspec.json.encode(event)
    reason, build = random.choice(WRONG)
    return reason, build(event)
