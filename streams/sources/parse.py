"""One line of a log: consumes its bytes, produces its message, level, logger and time, as far as they show.

Understood: JSON objects as structlog writes them, log4j (`[2026-11-22 04:38:34,123] INFO …`), Redis
(`1:M 22 Nov 2026 04:38:34.123 * …`), and ISO times at a line's beginning. Anything else is a message.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from schemas.raw import LogLine

_LEVEL: Final = re.compile(
    r"\b(TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|CRITICAL|FATAL|PANIC|SEVERE)\b", re.IGNORECASE
)
_ISO: Final = re.compile(
    r"\W?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?)(?=\D|$)"
)
_REDIS: Final = re.compile(r"\d+:[XCSM] (\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3}) ([.\-*#]) ")
_REDIS_LEVELS: Final = {".": "debug", "-": "info", "*": "notice", "#": "warning"}
_CANONICAL: Final = {
    "warn": "warning",
    "trace": "debug",
    "notice": "info",
    "fatal": "critical",
    "panic": "critical",
    "severe": "error",
}
_LEVEL_WITHIN: Final = 120  # a level stands near the beginning; further on it is a word of the message
_HANDLED: Final = ("event", "message", "msg", "level", "logger", "timestamp", "time")


class Parsed(msgspec.Struct, frozen=True):
    """A line's payload and its own time, None where it names none."""

    line: LogLine
    time: datetime | None


def text_of(raw: bytes) -> str:
    r"""Decode a line; a byte that is no UTF-8 stays visible as `\xff`, so nothing of the line is lost."""
    return raw.decode("utf-8", errors="backslashreplace").rstrip("\r\n")


def parse(raw: bytes, host: str = "") -> Parsed:
    """Read one line. Times without a zone are this machine's."""
    text = text_of(raw)
    if text.startswith("{"):
        parsed = _structured(text, host)
        if parsed is not None:
            return parsed
    redis = _REDIS.match(text)
    if redis is not None:
        level = _canonical(_REDIS_LEVELS[redis[2]])
        line = LogLine(message=text[redis.end() :], level=level, logger="redis", host=host)
        return Parsed(line, _local(redis[1], "%d %b %Y %H:%M:%S.%f"))
    found = _LEVEL.search(text, 0, _LEVEL_WITHIN)
    stamp = _ISO.match(text)
    line = LogLine(message=text, level=_canonical(found[1]) if found else "", host=host)
    return Parsed(line, _iso(stamp[1]) if stamp else None)


def _structured(text: str, host: str) -> Parsed | None:
    """Read a JSON line: its event text first, then its other fields as `name=value`."""
    try:
        fields = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError:
        return None
    event = next((fields[name] for name in ("event", "message", "msg") if name in fields), None)
    if not isinstance(event, str):
        return None
    rest = " ".join(f"{name}={_shown(value)}" for name, value in fields.items() if name not in _HANDLED)
    stamp = fields.get("timestamp", fields.get("time"))
    line = LogLine(
        message=f"{event} {rest}".rstrip(),
        level=_canonical(str(fields.get("level", ""))),
        logger=str(fields.get("logger", "")),
        host=host,
    )
    return Parsed(line, _iso(stamp) if isinstance(stamp, str) else None)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _canonical(level: str) -> str:
    lowered = level.lower()
    return _CANONICAL.get(lowered, lowered)


def _iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace(",", ".")).astimezone(UTC)
    except ValueError:
        return None


def _local(text: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(text, form).astimezone(UTC)
    except ValueError:
        return None
