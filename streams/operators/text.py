"""Normalises text before it is masked: percent-decoding, control characters, Unicode NFC, white space.

Punctuation and markup stay: in requests and log lines they are what an attack or a failure looks like.
"""

import re
import unicodedata
from typing import Final

MAX_TEXT: Final = 8192
"""Most characters that are kept; the models read a few hundred."""

_HEX: Final = "0123456789abcdefABCDEF"
_OCTETS: Final = {(a + b).encode(): bytes.fromhex(a + b) for a in _HEX for b in _HEX}
_SPACES: Final = re.compile(r"\s+")
_DECODE_ROUNDS: Final = 2  # attacks hide behind a second encoding; more rounds would eat honest text


def normalise(text: str, *, nfc: bool = True) -> str:
    """Return text without control and format characters, in NFC, single-spaced. Idempotent.

    Runs of white space become one space; other characters of categories Cc, Cf, Cs, Co and Cn vanish.
    """
    if text.isascii() and text.isprintable():
        if "  " not in text and text[:1] != " " and text[-1:] != " ":
            return text[:MAX_TEXT].rstrip(" ")
        return " ".join(text.split())[:MAX_TEXT].rstrip(" ")
    text = text[: 2 * MAX_TEXT]
    spaced = _SPACES.sub(" ", text)
    if not spaced.isprintable():
        spaced = "".join(c for c in spaced if c.isprintable() or not unicodedata.category(c).startswith("C"))
    if nfc and not unicodedata.is_normalized("NFC", spaced):
        spaced = unicodedata.normalize("NFC", spaced)
    return " ".join(spaced.split())[:MAX_TEXT].rstrip()


def percent_decoded(text: str) -> str:
    """Undo percent-encoding, up to twice; bytes that are no UTF-8 become U+FFFD, lone `%` stay."""
    for _ in range(_DECODE_ROUNDS):
        if "%" not in text:
            return text
        first, *parts = text.encode("utf-8", "replace").split(b"%")
        decoded = [first]
        for part in parts:
            octet = _OCTETS.get(part[:2])
            if octet is None:
                decoded += (b"%", part)
            else:
                decoded += (octet, part[2:])
        text = b"".join(decoded).decode("utf-8", "replace")
    return text
