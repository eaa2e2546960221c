"""Text from events, to be looked at: consumes what an attacker may have written, produces what can be shown.

Escaping alone keeps markup out; what steers a terminal, turns the reading direction round or is not seen at
all is made visible here.
"""

import unicodedata
from datetime import datetime
from html import escape
from typing import Final

_LONGEST: Final = 160
_UNSEEN: Final = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def shown(text: str, longest: int = _LONGEST) -> str:
    r"""Return a text on one line, cut at `longest` characters, in which every character is seen.

    >>> shown("a\x1b[2J\u202eb")
    'a\\x1b[2J\\u202eb'
    """
    cut = text[:longest]
    seen = "".join(_named(sign) if unicodedata.category(sign) in _UNSEEN else sign for sign in cut)
    return f"{seen}…" if len(text) > longest else seen


def _named(sign: str) -> str:
    code = ord(sign)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def html(text: str, longest: int = _LONGEST) -> str:
    """Return a text as it may stand in an element or a quoted attribute."""
    return escape(shown(text, longest))


def percent(share: float | None) -> str:
    """Return a share in percent."""
    return "–" if share is None else f"{share:.1%}"


def number(value: float | None) -> str:
    """Return a number with what digits it is worth."""
    return "–" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts = []
    for name, size in units:
        count, whole = divmod(whole, size)
        parts.append(f"{count} {name}" if count else "")
    first = next(at for at, part in enumerate(parts) if part)
    return " ".join(part for part in parts[first : first + 2] if part)


def moment(at: datetime) -> str:
    """Return a time in UTC, to the second."""
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
