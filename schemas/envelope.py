"""CloudEvents 1.0 as they come on `events.raw` or over HTTP, decoded to `RawEvent` for the cleaning stage.

Both Kafka modes are read: structured (the value is the whole event as JSON) and binary (attributes in `ce_`
headers, the value is `data`). A good event takes one typed pass of msgspec: the envelope's `type` is the
tag of a union, so that `data` is decoded straight into its kind's shape, and the decoded envelope serves as
the event: a copy of it would cost half as much again. Only what fails there is looked at
again, slowly, by `schemas.refusal`, to say which field broke which rule.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, cast

import msgspec

from schemas.errors import Reason, Rejected
from schemas.lift import lift, payload_types
from schemas.raw import PAYLOADS, RawEvent
from schemas.record import Kind
from schemas.refusal import MAX_NAME_BYTES, ExplainedEvent, explain

DEFAULT_MAX_BYTES: Final = 256 * 1024
_STRUCTURED: Final = b"application/cloudevents+json"
_BATCH: Final = b"application/cloudevents-batch"
_ATTRIBUTE_PREFIX: Final = "ce_"


def _envelope(event_type: str, shape: type[msgspec.Struct], kind: Kind) -> type[msgspec.Struct]:
    """Make the typed envelope of one `type`, in the shape of a `RawEvent` that needed no repair.

    Extension attributes that it does not name are skipped.
    """
    return msgspec.defstruct(
        "Envelope",
        [
            ("specversion", Literal["1.0"]),
            ("id", str),
            ("source", str),
            ("data", shape),
            ("time", str | int | float | None, ""),
            ("stream", str | None, ""),
            ("subject", str | None, ""),
        ],
        tag_field="type",
        tag=event_type,
        frozen=True,
        gc=False,
        namespace={"kind": kind, "repaired": False},
    )


_CURRENT: Final = frozenset(PAYLOADS.values())
_UNION: Any = None
for _type, (_kind, _shape) in payload_types().items():
    _each = _envelope(_type, _shape, _kind)
    _UNION = _each if _UNION is None else _UNION | _each
_DECODER: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(_UNION)


def decode_event(
    value: bytes | None,
    headers: Sequence[tuple[str, bytes]] = (),
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
    repair: bool = False,
) -> RawEvent:
    """Decode one record's value and headers, whichever of the two modes it uses; older payloads are lifted.

    With `repair`, what is no UTF-8 becomes U+FFFD, and the event says so; else it is rejected.

    Raises:
        Rejected: with its reason and the path of the offending field.
    """
    if headers and _is_binary(headers):
        return _decode_binary(value, headers, max_bytes, repair=repair)
    return decode_document(value, max_bytes=max_bytes, repair=repair)


def decode_document(
    document: bytes | None, *, max_bytes: int = DEFAULT_MAX_BYTES, repair: bool = False
) -> RawEvent:
    """Decode one CloudEvent in the JSON format (structured mode); `repair` as for `decode_event`.

    Raises:
        Rejected: with its reason and the path of the offending field.
    """
    if not document:
        raise Rejected(Reason.EMPTY, "the message has no content; send a CloudEvent as JSON")
    if len(document) > max_bytes:
        raise Rejected(Reason.OVERSIZED, f"{len(document)} bytes; at most {max_bytes} are accepted")
    try:
        if not document.isascii():
            document.decode()
        event = _DECODER.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _raised(explain(document, repair=repair))
    event_id, source = event.id, event.source
    if (
        not event_id
        or not source
        or len(event_id) + len(source) > MAX_NAME_BYTES // 4
        or event.time.__class__ is not str
        or event.stream is None
        or event.subject is None
        or event.data.__class__ not in _CURRENT
    ):
        return _raised(explain(document))
    return cast("RawEvent", event)


def identity_of(value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()) -> tuple[str, str, str]:
    """Return source, id and stream of a rejected event as far as they can be read; empty where not."""
    found: dict[str, Any] = {}
    try:
        if headers and _is_binary(headers):
            found = _attributes(headers)
        elif value:
            document = msgspec.json.decode(value)
            found = document if isinstance(document, dict) else {}
    except (Rejected, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "", "", ""
    read = [found.get(name) for name in ("source", "id", "stream")]
    source, event_id, stream = (text[:MAX_NAME_BYTES] if isinstance(text, str) else "" for text in read)
    return source, event_id, stream


def _raised(explained: ExplainedEvent) -> RawEvent:
    """Finish an event that only the slow path could read (numbers as time, base64 data, long names)."""
    return RawEvent(
        id=explained.id,
        source=explained.source,
        kind=explained.kind,
        data=lift(explained.data),
        time=explained.time,
        stream=explained.stream,
        subject=explained.subject,
        repaired=explained.repaired,
    )


def _is_binary(headers: Sequence[tuple[str, bytes]]) -> bool:
    """Tell the mode by the headers, as CloudEvents' Kafka binding says: the content type decides first."""
    attributes = False
    for name, value in headers:
        lowered = name.lower()
        if lowered == "content-type" and value:
            if value.lower().startswith(_BATCH):
                raise Rejected(Reason.NOT_CLOUDEVENTS, "batches are not accepted; send one event a message")
            if value.lower().startswith(_STRUCTURED):
                return False
        attributes = attributes or lowered.startswith(_ATTRIBUTE_PREFIX)
    return attributes


def _attributes(headers: Sequence[tuple[str, bytes]]) -> dict[str, str]:
    """Read the `ce_` headers."""
    attributes = {}
    for name, value in headers:
        if name.lower().startswith(_ATTRIBUTE_PREFIX):
            try:
                attributes[name.lower()[len(_ATTRIBUTE_PREFIX) :]] = (value or b"").decode()
            except UnicodeDecodeError as error:
                raise Rejected(
                    Reason.INVALID_UTF8, f"header {name} is not UTF-8: {error.reason}", name
                ) from error
    return attributes


def _decode_binary(
    value: bytes | None, headers: Sequence[tuple[str, bytes]], max_bytes: int, *, repair: bool
) -> RawEvent:
    """Decode an event whose attributes are headers."""
    if value is not None and len(value) > max_bytes:
        raise Rejected(Reason.OVERSIZED, f"{len(value)} bytes; at most {max_bytes} are accepted")
    return _raised(explain(value, _attributes(headers), repair=repair))
