"""Requests that no gateway may take: a seed in, broken bodies with odd headers out, the same each time.

Each is a right event that one thing was done to, or bytes that never were one; whatever it is, it is not a
CloudEvent, so that every answer but a 4xx is a fault.
"""

import json
import random
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from schemas.raw import structured
from schemas.record import Kind

_MEDIA: Final = (
    b"application/cloudevents+json",
    b"application/cloudevents-batch+json",
    b"application/x-ndjson",
    b"application/json",
)
_STRUCTURED: Final = _MEDIA[0]
_PATHS: Final = ("/v1/events", "/v1/events", "/v1/events", "/v1/labels")
_ODD: Final[tuple[Any, ...]] = (
    None,
    0,
    -1,
    1e308,
    True,
    "",
    "\x00",
    [],
    {},
    [[]],
    "é" * 300,
    10**30,
    {"a": None},
)
_DEEP: Final = (10, 300, 1_000, 5_000, 100_000)


class Malformed(NamedTuple):
    """One request: what was done to it, and what is sent, in chunks; perhaps without its end."""

    kind: str
    path: str
    headers: list[tuple[bytes, bytes]]
    chunks: list[bytes]
    broken_off: bool = False


def requests(seed: int, count: int) -> Iterator[Malformed]:
    """Yield so many requests."""
    source = random.Random(seed)
    kinds = list(_KINDS.items())
    for number in range(count):
        kind, make = kinds[number % len(kinds)]
        media, body = make(source)
        path = source.choice(_PATHS)
        headers = [(b"content-type", media), *_noise(source)]
        broken_off = source.random() < 0.05
        yield Malformed(kind, path, headers, _chunks(source, body), broken_off)


def _event(source: random.Random) -> dict[str, Any]:
    """Return an event that would be taken."""
    data = {"method": "GET", "path": f"/products/{source.randrange(1000)}", "query": "q=shoes"}
    return structured(str(source.randrange(10**9)), "shop", Kind.API, data)


def _encoded(source: random.Random) -> bytes:
    return json.dumps(_event(source)).encode()


def _truncated(source: random.Random) -> tuple[bytes, bytes]:
    body = _encoded(source)
    return source.choice(_MEDIA[:3]), body[: source.randrange(1, len(body))]


def _broken(source: random.Random) -> tuple[bytes, bytes]:
    """Put a byte where JSON has none: at the front, behind the end, or in place of a brace or a colon."""
    body = bytearray(_encoded(source))
    places = [index for index, byte in enumerate(body) if byte in b'{}:"' and index > 0]
    body[source.choice((0, places[0], places[1], len(body) - 1))] = source.choice(b"\x01;<%\x7f")
    return _STRUCTURED, bytes(body)


def _wrong_type(source: random.Random) -> tuple[bytes, bytes]:
    """Give a required attribute, or the payload, another type."""
    event = _event(source)
    name = source.choice(("specversion", "type", "source", "id", "data"))
    event[name] = source.choice(
        [odd for odd in _ODD if not isinstance(odd, str) or len(odd) < 2 or name == "type"]
    )
    if name in {"source", "id"}:
        event[name] = source.choice([odd for odd in _ODD if not isinstance(odd, str)])
    return _STRUCTURED, json.dumps(event).encode()


def _missing(source: random.Random) -> tuple[bytes, bytes]:
    event = _event(source)
    del event[source.choice(("specversion", "type", "source", "id", "data"))]
    return _STRUCTURED, json.dumps(event).encode()


def _unknown_payload(source: random.Random) -> tuple[bytes, bytes]:
    event = _event(source)
    event["data"][source.choice(("mehtod", "x", "", "\ud800"))] = source.choice(_ODD)
    return _STRUCTURED, json.dumps(event).encode()


def _nested(source: random.Random) -> tuple[bytes, bytes]:
    depth = source.choice(_DEEP)
    opening, closing = source.choice(((b"[", b"]"), (b'{"a":', b"}")))
    inner = opening * depth + b"1" + (closing * depth if source.random() < 0.5 else b"")
    body = (
        inner
        if source.random() < 0.5
        else _encoded(source).replace(b'"data":', b'"data":' + inner + b',"x":', 1)
    )
    return source.choice(_MEDIA[:3]), body


def _invalid_utf8(source: random.Random) -> tuple[bytes, bytes]:
    bad = source.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xc0\xaf"))
    return _STRUCTURED, _encoded(source).replace(b"shop", b"sh" + bad + b"op", 1)


def _random_bytes(source: random.Random) -> tuple[bytes, bytes]:
    return source.choice(_MEDIA), b"\x00" + source.randbytes(source.randrange(400))


def _wrong_media(source: random.Random) -> tuple[bytes, bytes]:
    media = source.choice(
        (b"text/plain", b"", b"application/xml; q=1", b"\xff\xfe", b"application/json; charset=utf-16")
    )
    return media, _encoded(source)


def _no_array(source: random.Random) -> tuple[bytes, bytes]:
    return _MEDIA[1], source.choice(
        (_encoded(source), b"[" + _encoded(source), b"[]]", b"[,]", b"[1,2", b'"x"', b"")
    )


def _bad_members(source: random.Random) -> tuple[bytes, bytes]:
    """Fill a batch or lines with what are no events."""
    ones = [json.dumps(source.choice(_ODD)).encode() for _ in range(source.randrange(1, 40))]
    if source.random() < 0.5:
        return _MEDIA[1], b"[" + b",".join(ones) + b"]"
    return _MEDIA[2], b"\n".join(ones)


def _bad_numbers(source: random.Random) -> tuple[bytes, bytes]:
    number = source.choice((b"NaN", b"Infinity", b"-", b"01", b"1e", b"0x10", b"1." + b"9" * 5000 + b"e"))
    return _STRUCTURED, _encoded(source).replace(b'"GET"', number, 1)


_KINDS: Final[dict[str, Callable[[random.Random], tuple[bytes, bytes]]]] = {
    "truncated": _truncated,
    "broken": _broken,
    "wrong_type": _wrong_type,
    "missing": _missing,
    "unknown_payload": _unknown_payload,
    "nested": _nested,
    "invalid_utf8": _invalid_utf8,
    "random_bytes": _random_bytes,
    "wrong_media": _wrong_media,
    "no_array": _no_array,
    "bad_members": _bad_members,
    "bad_numbers": _bad_numbers,
}


def _noise(source: random.Random) -> list[tuple[bytes, bytes]]:
    """Return headers that nobody asked for; none of them can make a binary event of the body."""
    headers = []
    for _ in range(source.randrange(4)):
        name = source.choice(
            (b"x-request-id", b"ce-id", b"ce-specversion", b"ce-data", b"content-length", b"content-encoding",
             b"accept", b"cookie", b"x-" + source.randbytes(3).hex().encode())
        )  # fmt: skip
        value = source.choice(
            (b"", b"\xff\xfe", b"%00%ff%zz", b"-1", b"9" * 40, source.randbytes(12), b"gzip", b"1.0")
        )
        headers.append((name, value))
    return headers


def _chunks(source: random.Random, body: bytes) -> list[bytes]:
    """Cut a body as a network may."""
    if len(body) < 2 or source.random() < 0.7:
        return [body]
    at = source.randrange(1, len(body))
    return [body[:at], b"", body[at:]]
