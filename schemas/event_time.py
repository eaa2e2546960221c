"""The forms in which publishers write a time: text in, aware UTC out.

ISO 8601 (any offset; none means UTC), epoch seconds, milliseconds, microseconds and nanoseconds (told apart
by magnitude), RFC 2822, and the common log format.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_LENGTH: Final = 64
_NUMBER: Final = re.compile(r"(\d{1,20})(?:\.(\d{1,20}))?(?:[eE]\+?(\d{1,2}))?", re.ASCII)
_COMMON_LOG: Final = re.compile(
    r"\[?(\d{1,2})/([A-Za-z]{3})/(\d{4}):(\d\d):(\d\d):(\d\d)(?: ([+-])(\d\d)(\d\d))?\]?", re.ASCII
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LEAP_SECOND: Final = re.compile(r"(T\d\d:?\d\d:?)60", re.ASCII)


def parse(text: str) -> datetime:
    """Read one time.

    Returns:
        Aware UTC, to the microsecond (further digits are cut off).

    Raises:
        ValueError: none of the accepted forms.
    """
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"{len(text)} characters are no time")
    if text[4:5] == "-" and text[-1:] == "Z" and text[17:19] != "60":
        return datetime.fromisoformat(text) if text.isascii() else _other(text)
    return _other(text.strip())


def _other(text: str) -> datetime:
    number = _NUMBER.fullmatch(text)
    if number is not None and len(text) != len("20260314"):
        return _epoch(number)
    log = _COMMON_LOG.fullmatch(text)
    if log is not None:
        return _common_log(log)
    if not text.isascii():
        raise ValueError("a time is written in ASCII")
    if text[:4].isdigit():
        return _utc(_iso(text))
    try:
        return _utc(parsedate_to_datetime(text))
    except (TypeError, IndexError, OverflowError) as error:  # its parser lets these through on odd input
        raise ValueError("no date") from error


def _iso(text: str) -> datetime:
    upper = text.upper()
    leap = _LEAP_SECOND.search(upper)
    if leap is None:
        return datetime.fromisoformat(upper)
    return datetime.fromisoformat(_LEAP_SECOND.sub(r"\g<1>59", upper)) + timedelta(seconds=1)


def _epoch(number: re.Match[str]) -> datetime:
    """Tell the unit by magnitude: 1e11 s, 1e14 ms and 1e17 µs all lie beyond the year 5000."""
    whole, fraction = number[1], number[2] or ""
    exponent = int(number[3] or 0)
    digits = (fraction + "0" * exponent)[:exponent]
    units, rest = int(whole + digits), fraction[exponent:]
    for bound, per_second in ((10**11, 1), (10**14, 10**3), (10**17, 10**6), (10**20, 10**9)):
        if units < bound:
            scaled = int(f"{units}{(rest + '000000')[:6]}")  # in millionths of a unit
            return EPOCH + timedelta(microseconds=scaled // per_second)
    raise ValueError("too large for a time since 1970")


def _common_log(match: re.Match[str]) -> datetime:
    day, month, year, hour, minute, second = (match[index] for index in range(1, 7))
    if month.lower() not in _MONTHS:
        raise ValueError(f"no month is called {month}")
    zone = UTC
    if match[7]:
        offset = timedelta(hours=int(match[8]), minutes=int(match[9]))
        zone = timezone(-offset if match[7] == "-" else offset)
    number = _MONTHS.index(month.lower()) + 1
    return _utc(datetime(int(year), number, int(day), int(hour), int(minute), int(second), tzinfo=zone))


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of the calendar's range") from error
