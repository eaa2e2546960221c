"""The forms in which publishers write a time: text in, aware UTC out.

ISO 8601 (calendar, week and ordinal dates, basic and extended, any offset; none means UTC), the same with a
zone's name behind it (`UTC`, `EST`, `Europe/Berlin`, `[Europe/Berlin]`), epoch seconds, milliseconds,
microseconds and nanoseconds (told apart by magnitude), RFC 2822 and 850, `ctime`, the common log format, and
syslog's own, which leaves the year to be inferred from when it was read.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime
from typing import Final
from zoneinfo import ZoneInfo

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_LENGTH: Final = 96
_AHEAD: Final = timedelta(days=2)
"""How far a time without a year may lie ahead of the reader's clock before it is taken for last year's."""

_NUMBER: Final = re.compile(r"(\d{1,20})(?:\.(\d{1,20}))?(?:[eE]\+?(\d{1,2}))?", re.ASCII)
_COMPACT: Final = re.compile(r"((?:19|20)\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:[.,](\d{1,9}))?(Z?)", re.ASCII)
_COMMON_LOG: Final = re.compile(
    r"\[?(\d{1,2})/([A-Za-z]{3})/(\d{4}):(\d\d):(\d\d):(\d\d)(?: ([+-])(\d\d)(\d\d))?\]?", re.ASCII
)
# `Nov 22 07:17:18`, `Sun Nov 22 07:17:18.25 2026`, `Sun Nov 22 07:17:18 UTC 2026`, with or without brackets
_SYSLOG: Final = re.compile(
    r"\[?(?:[A-Za-z]{3} )?([A-Za-z]{3}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?"
    r"(?: ([A-Z]{1,4}))?(?: (\d{4}))?\]?",
    re.ASCII,
)
_ORDINAL: Final = re.compile(r"(\d{4})-?(\d{3})(?!\d)(?=$|[T ])(.*)", re.ASCII)
_DOTTED: Final = re.compile(r"(\d{4}-\d\d-\d\d)-(\d\d)\.(\d\d)\.(\d\d)(\.\d{1,9})?", re.ASCII)
_SPACED_OFFSET: Final = re.compile(r"(?<=\d) +([+-]\d\d(?::?\d\d)?)$", re.ASCII)
_ZONE: Final = re.compile(r"(?: ?\[([A-Za-z][\w+/-]{1,48})\]| ?((?!Z$)[A-Za-z][\w+/-]{1,48}))$", re.ASCII)
_LEAP_SECOND: Final = re.compile(r"([T ]\d\d:?\d\d:?)60", re.ASCII)
_MIDNIGHT: Final = re.compile(r"([T ])24(?=:?00(?::?00(?:[.,]0+)?)?(?:Z|[+-]|$))", re.ASCII)
_LAST_WORD: Final = re.compile(r" ([A-Za-z]+)$", re.ASCII)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# Hours east of Greenwich of the abbreviations that mean one zone; `IST`, `BST` and their like mean several.
_ABBREVIATIONS: Final[dict[str, int]] = {
    **dict.fromkeys(("Z", "UT", "UTC", "GMT", "WET"), 0),
    **dict.fromkeys(("WEST", "CET"), 1),
    **dict.fromkeys(("CEST", "EET"), 2),
    **dict.fromkeys(("EEST", "MSK"), 3),
    **dict.fromkeys(("JST", "KST"), 9),
    "AEST": 10,
    "AEDT": 11,
    "NZST": 12,
    "NZDT": 13,
    "EDT": -4,
    **dict.fromkeys(("EST", "CDT"), -5),
    **dict.fromkeys(("CST", "MDT"), -6),
    **dict.fromkeys(("MST", "PDT"), -7),
    **dict.fromkeys(("PST", "AKDT"), -8),
    "AKST": -9,
    "HST": -10,
}


def parse(text: str, now: datetime | None = None) -> datetime:
    """Read one time. `now`, aware, is by what a year is inferred where the form has none (syslog).

    Returns:
        Aware UTC, to the microsecond (further digits are cut off).

    Raises:
        ValueError: none of the accepted forms, or a form without a year and no `now`.
    """
    if len(text) > _MAX_LENGTH:
        raise ValueError(f"{len(text)} characters are no time")
    if text[10:11] == "T" and text.isascii():  # the common form
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:  # a leap second, 24:00, a named zone, or none at all
            return _other(text.strip(), now)
        return moment if moment.tzinfo is UTC else _utc(moment)
    return _other(text.strip(), now)


def _other(text: str, now: datetime | None) -> datetime:
    if not text.isascii():
        raise ValueError("a time is written in ASCII")
    number = _NUMBER.fullmatch(text)
    compact = _COMPACT.fullmatch(text)
    if compact is not None and (compact[8] or not compact[7] or number is None):
        moment = _compact(compact)
        if moment is not None:
            return moment
    if number is not None and len(text) != len("20260314"):
        return _epoch(number)
    log = _COMMON_LOG.fullmatch(text)
    if log is not None:
        return _common_log(log)
    if text[:4].isdigit() and len(text) > 4:
        return _iso(text)
    syslog = _SYSLOG.fullmatch(text)
    if syslog is not None:
        return _syslog(syslog, now)
    return _rfc(text)


def _iso(text: str) -> datetime:
    """Read ISO 8601 and its neighbours: slashes in the date, a zone's name behind the time."""
    zone: tzinfo | None = None
    named = _ZONE.search(text, 5)
    if named is not None and not (named[2] and named[2][0] in "TtWw" and named[2][1].isdigit()):
        zone = _zone(named[1] or named[2])
        text = text[: named.start()].rstrip(" ")
    text = text.upper()
    if text[4:5] == "/" and text[7:8] == "/":
        text = f"{text[:4]}-{text[5:7]}-{text[8:]}"
    dotted = _DOTTED.fullmatch(text)
    if dotted is not None:
        text = f"{dotted[1]}T{dotted[2]}:{dotted[3]}:{dotted[4]}{dotted[5] or ''}"
    text = _SPACED_OFFSET.sub(r"\1", text)
    text, ahead = _carried(text)
    ordinal = _ORDINAL.fullmatch(text)
    if ordinal is not None:
        text, day = f"{ordinal[1]}-01-01{ordinal[3]}", int(ordinal[2])
        if not 1 <= day <= (366 if _leap(int(ordinal[1])) else 365):
            raise ValueError(f"a year has no day {day}")
        ahead += timedelta(days=day - 1)
    try:
        moment = datetime.fromisoformat(text) + ahead
    except OverflowError as error:
        raise ValueError("out of the calendar's range") from error
    if zone is not None and moment.tzinfo is None:  # an offset is exact, a name beside it is a remark
        moment = moment.replace(tzinfo=zone)
    return _utc(moment)


def _carried(text: str) -> tuple[str, timedelta]:
    """Rewrite what exists in publishers' clocks but not in Python's: 23:59:60 and 24:00."""
    ahead = timedelta()
    if "60" in text and _LEAP_SECOND.search(text):
        text, ahead = _LEAP_SECOND.sub(r"\g<1>59", text), timedelta(seconds=1)
    if "24" in text and _MIDNIGHT.search(text):
        text, ahead = _MIDNIGHT.sub(r"\g<1>00", text), timedelta(days=1)
    return text, ahead


def _leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _zone(name: str) -> tzinfo:
    hours = _ABBREVIATIONS.get(name.upper())
    if hours is not None:
        return timezone(timedelta(hours=hours))
    if "/" not in name:
        raise ValueError(f"no zone is called {name[:40]!r}, or several are")
    try:
        return ZoneInfo(name)
    except (KeyError, OSError) as error:  # not in the zone database, or a folder of it
        raise ValueError(f"no zone is called {name[:40]!r}") from error


def _compact(match: re.Match[str]) -> datetime | None:
    """Read `20260314092653`; None where the digits are no calendar date (then they count milliseconds)."""
    year, month, day, hour, minute, second = (int(match[index]) for index in range(1, 7))
    try:
        return datetime(year, month, day, hour, minute, second, _micros(match[7]), tzinfo=UTC)
    except ValueError:
        return None


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
    day, year, hour, minute, second = (int(match[index]) for index in (1, 3, 4, 5, 6))
    zone = UTC
    if match[7]:
        offset = timedelta(hours=int(match[8]), minutes=int(match[9]))
        zone = timezone(-offset if match[7] == "-" else offset)
    return _utc(datetime(year, _month(match[2]), day, hour, minute, second, tzinfo=zone))


def _syslog(match: re.Match[str], now: datetime | None) -> datetime:
    """Read month, day and time; the year is written, or the latest that is not ahead of `now`."""
    month, micros = _month(match[1]), _micros(match[6])
    day, hour, minute, second = (int(match[index]) for index in (2, 3, 4, 5))
    zone = _zone(match[7]) if match[7] else UTC
    if match[8]:
        return _utc(datetime(int(match[8]), month, day, hour, minute, second, micros, tzinfo=zone))
    if now is None:
        raise ValueError("the year is missing")
    for year in range(now.year + 1, now.year - 9, -1):  # 29 February is up to eight years ago
        if (month, day) == (2, 29) and not _leap(year):
            continue
        moment = datetime(year, month, day, hour, minute, second, micros, tzinfo=zone)
        if moment <= now + _AHEAD:
            return _utc(moment)
    raise ValueError("no year near now has this day")


def _rfc(text: str) -> datetime:
    """Read RFC 2822 and 850. The library takes a zone that it does not know for UTC; here it is refused."""
    word = _LAST_WORD.search(text)
    if word is not None:
        text = f"{text[: word.start()]} {EPOCH.astimezone(_zone(word[1])):%z}"
    try:
        return _utc(parsedate_to_datetime(text))
    except (TypeError, IndexError, OverflowError) as error:  # its parser lets these through on odd input
        raise ValueError("no date") from error


def _month(name: str) -> int:
    if name.lower() not in _MONTHS:
        raise ValueError(f"no month is called {name}")
    return _MONTHS.index(name.lower()) + 1


def _micros(fraction: str | None) -> int:
    return int(f"{fraction}000000"[:6]) if fraction else 0


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("out of the calendar's range") from error
