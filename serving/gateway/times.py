"""The first look at an event's time: its text in, whether any accepted form could read it out.

The cleaning stage reads times; here only what is surely none is refused, so that its publisher hears of it.
"""

import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

_LONGEST: Final = 64
_EPOCH: Final = re.compile(r"\d{1,20}(?:\.\d{1,20})?(?:[eE]\+?\d{1,2})?", re.ASCII)
_COMMON_LOG: Final = re.compile(r"\[?\d{1,2}/[A-Za-z]{3}/\d{4}:\d\d:\d\d:\d\d(?: [+-]\d{4})?\]?", re.ASCII)
_LEAP_SECOND: Final = re.compile(r"(T\d\d:?\d\d:?)60", re.ASCII)


def is_time(text: str) -> bool:
    """Tell whether a text may be a time: ISO 8601, an epoch number, RFC 2822, or the common log format."""
    text = text.strip()
    if len(text) > _LONGEST or not text.isascii():
        return False
    if _EPOCH.fullmatch(text) or _COMMON_LOG.fullmatch(text):
        return True
    try:
        if text[:4].isdigit():
            datetime.fromisoformat(_LEAP_SECOND.sub(r"\g<1>59", text.upper()))
        else:
            parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return False
    return True
