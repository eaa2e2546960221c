"""JSON to contracts and back: the one place where bytes become typed records and the other way round."""

from typing import Any, Final, TypeVar

import msgspec

from schemas.errors import Reason, Rejected

T = TypeVar("T")

_ENCODER: Final = msgspec.json.Encoder()


def encode(record: Any) -> bytes:
    """Encode a contract as compact JSON; times become RFC 3339, bytes base64."""
    return _ENCODER.encode(record)


_DECODERS: Final[dict[type[Any], msgspec.json.Decoder[Any]]] = {}


def decoder(contract: type[T]) -> msgspec.json.Decoder[T]:
    """Return the shared decoder of a contract."""
    known = _DECODERS.get(contract)
    if known is None:
        known = _DECODERS[contract] = msgspec.json.Decoder(contract)
    return known


def decode(payload: bytes, contract: type[T]) -> T:
    """Decode one record of Headrace's own topics.

    Raises:
        Rejected: malformed JSON, or a field that the contract does not allow, named in the message.
    """
    try:
        return decoder(contract).decode(payload)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise Rejected(Reason.WRONG_TYPE, message, path.rstrip("`").lstrip(".")) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(Reason.MALFORMED_JSON, str(error)) from error


class _Named(msgspec.Struct, frozen=True):
    """What all records of a stream have; a rejected event's stream may be unknown."""

    stream: str = ""


def stream_of(payload: bytes | None) -> str:
    """Return whose record it is, its other fields skipped; empty where it names no stream, or cannot be read.

    >>> stream_of(b'{"stream": "plant", "text": ""}'), stream_of(b"no json")
    ('plant', '')
    """
    try:
        return decode(payload or b"", _Named).stream
    except Rejected:
        return ""
