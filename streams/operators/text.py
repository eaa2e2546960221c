"""Normalises text before it is masked: percent-decoding, control characters, Unicode form, white space.

Punctuation and markup stay: in requests and log lines they are what an attack or a failure looks like.
"""

import re
import unicodedata
from typing import Final, Literal

MAX_TEXT: Final = 8192
"""Most characters that are kept; the models read a few hundred."""

Form = Literal["NFC", "NFKC"]

_LONGEST_WORD: Final = 512
_ENDS: Final = " &,;?=\"'<>()|"
_HEX: Final = "0123456789abcdefABCDEF"
_OCTETS: Final = {(a + b).encode(): bytes.fromhex(a + b) for a in _HEX for b in _HEX}
_SPACES: Final = re.compile(r"\s+")
_DECODE_ROUNDS: Final = 2  # attacks hide behind a second encoding; more rounds would eat honest text


def normalise(text: str, form: Form | None = "NFC") -> str:
    """Return text without control and format characters, in a Unicode form, single-spaced. Idempotent.

    Runs of white space become one space; other characters of categories Cc, Cf, Cs, Co and Cn vanish. Text
    over `MAX_TEXT` is cut between two words, so that no half of an address or a key is left at its end.
    """
    if text.isascii() and text.isprintable():
        if "  " in text or text[:1] == " " or text[-1:] == " ":
            text = " ".join(text.split())
        return text if len(text) <= MAX_TEXT else _cut(text)
    text = text[: 2 * MAX_TEXT]
    spaced = _SPACES.sub(" ", text)
    if not spaced.isprintable():
        spaced = "".join(c for c in spaced if c.isprintable() or not unicodedata.category(c).startswith("C"))
    if form is not None and not unicodedata.is_normalized(form, spaced):
        spaced = unicodedata.normalize(form, spaced)
    return _cut(" ".join(spaced.split()))


def _cut(text: str) -> str:
    """Keep at most `MAX_TEXT` characters, and no part of a word unless it is a very long one."""
    if len(text) <= MAX_TEXT:
        return text
    kept = text[:MAX_TEXT]
    if text[MAX_TEXT] not in _ENDS:
        end = max(kept.rfind(sign, MAX_TEXT - _LONGEST_WORD) for sign in _ENDS)
        kept = kept[: end + 1] if end >= 0 else kept
    return kept.rstrip()


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
