"""The CloudEvents HTTP binding: a request's headers and body in, single events for the contract out.

application/cloudevents+json        one event, structured mode
application/json and ce-* headers   one event, binary mode
application/cloudevents-batch+json  a JSON array of events
application/x-ndjson                one event a line
"""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

import msgspec

from schemas.errors import Reason, Rejected
from serving.gateway.problems import Refused

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
NDJSON: Final = "application/x-ndjson"
_JSON: Final = "application/json"

_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Received(NamedTuple):
    """One event as Kafka's binding has it: a value, and headers in binary mode."""

    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


class Request(NamedTuple):
    """The events of one request; `single` where the answer is about one event rather than a list."""

    events: list[Received]
    single: bool


def events_of(headers: Mapping[str, str], body: bytes, *, max_events: int) -> Request:
    """Split a request into its events, none of them judged yet.

    Raises:
        Refused: 415 for a media type that is none of the four, 413 for too many events.
        Rejected: a batch that is no JSON array.
    """
    media, _, parameters = headers.get("content-type", "").partition(";")
    media = media.strip().lower()
    _check_charset(parameters)
    if media == STRUCTURED:
        return Request([Received(body)], single=True)
    if media == BATCH:
        return Request(_limited([Received(bytes(raw)) for raw in _array(body)], max_events), single=False)
    if media == NDJSON:
        lines = [Received(line) for line in body.split(b"\n") if line.strip()]
        return Request(_limited(lines, max_events), single=False)
    if media == _JSON or (not media and "ce-id" in headers):
        return Request([_binary(headers, body)], single=True)
    raise Refused(
        415,
        f"{media or 'no media type'} is not supported; send {STRUCTURED}, {BATCH}, {NDJSON}, "
        f"or {_JSON} with ce-* headers",
        field="content-type",
    )


def as_structured(event: Received) -> bytes:
    """Return the bytes to produce: a structured event as it came, a binary one joined with its attributes.

    A binary event must have been judged before: its value is known to be one JSON document then, so it
    cannot smuggle further members into the envelope.
    """
    if not event.headers:
        return event.value
    attributes: dict[str, msgspec.Raw | str] = {
        name.removeprefix("ce_"): value.decode()
        for name, value in event.headers
        if name.startswith("ce_") and name not in {"ce_data", "ce_data_base64"}
    }
    attributes["datacontenttype"] = _JSON
    attributes["data"] = msgspec.Raw(event.value)
    return msgspec.json.encode(attributes)


def _binary(headers: Mapping[str, str], body: bytes) -> Received:
    """Rename the attributes as in Kafka's binding: `ce-id` becomes `ce_id`."""
    named = tuple(
        (f"ce_{name[3:]}", _unquoted(value)) for name, value in headers.items() if name.startswith("ce-")
    )
    if not named:
        raise Rejected(
            Reason.NOT_CLOUDEVENTS,
            f"{_JSON} needs the event's attributes in ce-* headers; without them send {STRUCTURED}",
            "content-type",
        )
    return Received(body, (*named, ("content-type", _JSON.encode())))


def _unquoted(value: str) -> bytes:
    """Undo the binding's percent-encoding of a header value."""
    return unquote_to_bytes(value)


def _array(body: bytes) -> list[msgspec.Raw]:
    try:
        return _ARRAY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(Reason.MALFORMED_JSON, f"a batch is a JSON array of events: {error}") from error


def _check_charset(parameters: str) -> None:
    for parameter in parameters.lower().split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('"') not in {"utf-8", "utf8", "us-ascii"}:
            raise Refused(415, f"charset {value} is not supported; send UTF-8", field="content-type")


def _limited(events: list[Received], max_events: int) -> list[Received]:
    if len(events) > max_events:
        raise Refused(413, f"{len(events)} events in one request; send at most {max_events}")
    return events
