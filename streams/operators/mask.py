"""Masks what varies from event to event, so that texts that mean the same are the same.

Consumes normalised text, produces text in which numbers read `<num>`, addresses `<ip>`, e-mail `<email>`,
long hexadecimal ids `<id>` and timestamps `<time>`. Equal masked texts get equal answers from a model.
"""

import re
from typing import Final

from streams.operators.identifiers import EMAIL

_HAS_EMAIL: Final = re.compile(r"[^\s@]@[^\s@]")
_TIME: Final = re.compile(
    r"(?<!\d)\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?", re.ASCII
)
_ID: Final = re.compile(
    r"(?<![0-9A-Za-z])(?=[A-Fa-f-]*\d)(?:[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    r"|\d*[A-Fa-f][0-9A-Fa-f]*(?<=[0-9A-Fa-f]{8}))(?![0-9A-Za-z])",
    re.ASCII,
)
_IPV4: Final = re.compile(r"(?<![\d.])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?!\.?\d)", re.ASCII)
_IPV6: Final = re.compile(
    r"(?<![0-9A-Za-z:])(?:[0-9A-Fa-f]{1,4}:){4,7}(?::?[0-9A-Fa-f]{1,4}){1,3}(?![0-9A-Za-z:])", re.ASCII
)
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?", re.ASCII)

# A text's outline: digits read 0, the letters of hexadecimal a, all other letters z. Searching it for a few
# bytes costs a tenth of a regular expression that finds nothing, and most texts hold no id and no address.
_OUTLINE: Final = bytes(
    ord("0")
    if chr(byte).isdigit() and byte < 128
    else ord("a")
    if byte < 128 and chr(byte) in "abcdefABCDEF"
    else ord("z")
    if byte < 128 and chr(byte).isalpha()
    else byte
    for byte in range(256)
)
_OUTLINE_HEX: Final = bytes(ord("0") if byte == ord("a") else byte for byte in range(256))


def masked(text: str) -> str:
    """Return the text with its variable parts masked. Idempotent."""
    if "@" in text and _HAS_EMAIL.search(text):
        text = EMAIL.sub("<email>", text)
    outline = text.encode("utf-8", "replace").translate(_OUTLINE)
    if b"0" not in outline:
        return text
    if b"0-00-00" in outline:
        text = _TIME.sub("<time>", text)
    if b"a" in outline and b"00000000" in outline.translate(_OUTLINE_HEX):
        text = _ID.sub("<id>", text)
    if b"0.0" in outline and outline.count(b".") >= 3:
        text = _IPV4.sub("<ip>", text)
    if outline.count(b":") >= 4:
        text = _IPV6.sub("<ip>", text)
    return _NUMBER.sub("<num>", text)
