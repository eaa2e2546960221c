"""The slow path of decoding: says which field of an event breaks which rule, or reads its rarer forms.

Called by `schemas.envelope` for what its typed pass turned down. The checks run from the outside in, so that
the reason names the first thing a publisher has to mend. Repairs UTF-8 where that is asked.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn, get_args, get_origin

import msgspec

from schemas.errors import Reason, Rejected
from schemas.lift import payload_types
from schemas.raw import CURRENT_VERSION, TYPES
from schemas.record import Kind

MAX_NAME_BYTES: Final = 512
"""Most bytes of an id, a source, a stream or a subject."""

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
# Any escape, so that a backslash that is itself escaped is passed over whole; group 1 is half a pair alone.
_ESCAPE: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\(?:(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_NAMED: Final = re.compile(r"(?:missing required|contains unknown) field `([^`]*)`")


class ExplainedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that stood every check; `data` is still in the version it was sent in."""

    id: str
    source: str
    kind: Kind
    data: msgspec.Struct
    time: str
    stream: str
    subject: str
    repaired: bool


def explain(
    value: bytes | None, attributes: Mapping[str, str] | None = None, *, repair: bool = False
) -> ExplainedEvent:
    """Check an event rule by rule. `attributes` are those of binary mode; None means structured mode.

    With `repair`, bytes that are no UTF-8 become U+FFFD; not in the id and the source, though, or two events
    could become one.

    Raises:
        Rejected: the first rule that is broken, with the path of the field.
    """
    damaged = False
    if attributes is None:
        document, damaged = _json(value, "the message", repair=repair)
        envelope, prefix = _object(document), ""
    else:
        envelope, prefix = dict(attributes), "ce_"
    _check_version(envelope, prefix)
    event_id = _name(envelope, "id", Reason.MISSING_ID, prefix)
    source = _name(envelope, "source", Reason.MISSING_SOURCE, prefix)
    if damaged:
        _check_identity(event_id, source)
    kind, shape = _shape(envelope, prefix)
    time = _optional(envelope, "time", prefix, numbers=True)
    stream, subject = _optional(envelope, "stream", prefix), _optional(envelope, "subject", prefix)
    if attributes is not None:
        raw, inner = _json(value, "the data", repair=repair)
    else:
        raw, inner = _data(envelope, repair=repair)
    return ExplainedEvent(
        id=event_id,
        source=source,
        kind=kind,
        data=_convert(raw, shape),
        time=time,
        stream=stream,
        subject=subject,
        repaired=damaged or inner,
    )


def repaired_utf8(document: bytes) -> bytes:
    """Return a JSON document with U+FFFD in place of what is no UTF-8, and without a byte order mark.

    Escapes of half a surrogate pair, which encoders write for text that was damaged before, are replaced too.
    """
    text = document.removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "replace")
    if "\\u" in text:
        text = _ESCAPE.sub(lambda found: "\\ufffd" if found[1] else found[0], text)
    return text.encode()


def _json(value: bytes | None, what: str, *, repair: bool) -> tuple[Any, bool]:
    """Return the document, and whether it had to be repaired."""
    if not value:
        raise Rejected(Reason.EMPTY, f"{what} is empty")
    damaged = False
    if repair:
        whole = repaired_utf8(value)
        value, damaged = whole, whole != value
    try:
        value.decode()
    except UnicodeDecodeError as error:
        where = f"byte {error.start} of {len(value)}"
        raise Rejected(Reason.INVALID_UTF8, f"{what} is not UTF-8: {error.reason} at {where}") from error
    try:
        return msgspec.json.decode(value), damaged
    except msgspec.DecodeError as error:
        raise Rejected(Reason.MALFORMED_JSON, f"{what} is not JSON: {error}") from error
    except RecursionError as error:
        raise Rejected(Reason.MALFORMED_JSON, f"{what} is nested too deeply") from error


def _object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Rejected(Reason.NOT_CLOUDEVENTS, f"a CloudEvent is a JSON object, not {_json_type(document)}")
    return document


def _check_version(envelope: Mapping[str, Any], prefix: str) -> None:
    version = envelope.get("specversion")
    field = f"{prefix}specversion"
    if version is None:
        raise Rejected(Reason.NOT_CLOUDEVENTS, f'no `{field}`; a CloudEvent says "1.0" there', field)
    if version != "1.0":
        raise Rejected(
            Reason.UNKNOWN_SPECVERSION, f'`{field}` is {_shown(version)}; "1.0" is accepted', field
        )


def _check_identity(event_id: str, source: str) -> None:
    for field, value in (("id", event_id), ("source", source)):
        if "\ufffd" in value:
            message = f"`{field}` is not UTF-8; two events could become one if it were repaired"
            raise Rejected(Reason.INVALID_UTF8, message, field)


def _name(envelope: Mapping[str, Any], name: str, missing: Reason, prefix: str) -> str:
    """Read an attribute that every event must have."""
    field = prefix + name
    value = envelope.get(name)
    if value is None or value == "":
        raise Rejected(
            missing, f"`{field}` is {'empty' if value == '' else 'missing'}; it is required", field
        )
    return _bounded(value, field)


def _optional(envelope: Mapping[str, Any], name: str, prefix: str, *, numbers: bool = False) -> str:
    value = envelope.get(name)
    if value is None:
        return ""
    if numbers and isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    return _bounded(value, prefix + name)


def _bounded(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise Rejected(Reason.WRONG_TYPE, f"`{field}` is {_json_type(value)}; a string is expected", field)
    size = len(value.encode())
    if size > MAX_NAME_BYTES:
        raise Rejected(Reason.OVERSIZED, f"`{field}` has {size} bytes; at most {MAX_NAME_BYTES} fit", field)
    return value


def _shape(envelope: Mapping[str, Any], prefix: str) -> tuple[Kind, type[msgspec.Struct]]:
    """Find what `data` must look like."""
    field = f"{prefix}type"
    if envelope.get("type") in (None, ""):
        raise Rejected(
            Reason.MISSING_FIELD, f"`{field}` is missing; it says what kind of event this is", field
        )
    event_type = _bounded(envelope["type"], field)
    known = payload_types().get(event_type)
    if known is not None:
        return known
    stem, _, version = event_type.rpartition(".")
    if stem in TYPES.values():
        message = f"`{field}` has version {version!r}; v1 to v{CURRENT_VERSION} of {stem} are accepted"
        raise Rejected(Reason.UNKNOWN_VERSION, message, field)
    kinds = ", ".join(f"{name}.v{CURRENT_VERSION}" for name in TYPES.values())
    raise Rejected(
        Reason.UNKNOWN_KIND, f"`{field}` is {_shown(event_type)}; one of {kinds} is expected", field
    )


def _data(envelope: Mapping[str, Any], *, repair: bool) -> tuple[Any, bool]:
    """Return the data of a structured event, base64 undone, and whether it had to be repaired."""
    if "data" in envelope:
        return envelope["data"], False
    encoded = envelope.get("data_base64")
    if encoded is None:
        raise Rejected(Reason.MISSING_FIELD, "`data` is missing; it carries the event itself", "data")
    if not isinstance(encoded, str):
        message = f"`data_base64` is {_json_type(encoded)}; a string is expected"
        raise Rejected(Reason.WRONG_TYPE, message, "data_base64")
    try:
        return _json(base64.b64decode(encoded, validate=True), "`data_base64`", repair=repair)
    except (binascii.Error, ValueError) as error:
        raise Rejected(Reason.WRONG_TYPE, f"`data_base64` is not base64: {error}", "data_base64") from error


def _convert(data: Any, shape: type[msgspec.Struct]) -> msgspec.Struct:
    """Give `data` its shape, or find the field that prevents it."""
    try:
        return msgspec.convert(data, shape)
    except msgspec.ValidationError as error:
        _refuse(data, shape, str(error))


def _refuse(data: Any, shape: type[msgspec.Struct], message: str) -> NoReturn:
    """Name the offending field exactly; msgspec itself writes `[...]` for a key of a mapping."""
    if not isinstance(data, dict):
        raise Rejected(Reason.WRONG_TYPE, f"`data` is {_json_type(data)}; an object is expected", "data")
    fields = {field.name: field for field in msgspec.structs.fields(shape)}
    for name, value in data.items():
        if name not in fields:
            known = ", ".join(fields)
            raise Rejected(
                Reason.UNKNOWN_FIELD, f"unknown field {_shown(name)}; known: {known}", f"data.{name}"[:600]
            )
        _refuse_value(value, fields[name].type, f"data.{name}")
    named = _NAMED.search(message)
    field = f"data.{named[1]}" if named else "data"
    raise Rejected(
        Reason.MISSING_FIELD if named else Reason.WRONG_TYPE, f"{message.partition(' - at')[0]}", field
    )


def _refuse_value(value: Any, expected: Any, path: str) -> None:
    """Raise if one field's value, or one entry of it, is of the wrong type."""
    items = get_args(expected) if get_origin(expected) is dict else ()
    if items and isinstance(value, dict):
        for key, entry in value.items():
            _refuse_value(entry, items[1], f"{path}.{key}"[:600])
        return
    try:
        msgspec.convert(value, expected)
    except msgspec.ValidationError as error:
        raise Rejected(Reason.WRONG_TYPE, str(error).partition(" - at")[0], path) from error


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
