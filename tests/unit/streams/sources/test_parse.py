"""Reading log lines of many shapes."""

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.sources.parse import parse, text_of


def test_structlog_line():
    """A JSON line's event and other fields become the message; level, logger and time are taken out."""
    raw = (
        b'{"event": "batch.committed", "n": 5, "level": "info", "logger": "a.b", '
        b'"timestamp": "2026-11-22T04:38:34.5Z"}'
    )
    parsed = parse(raw, "h")
    assert parsed.line.message == "batch.committed n=5"
    assert (parsed.line.level, parsed.line.logger, parsed.line.host) == ("info", "a.b", "h")
    assert parsed.time == datetime(2026, 11, 22, 4, 38, 34, 500000, UTC)


@pytest.mark.parametrize(
    ("raw", "level"),
    [
        (b"2026-11-22T04:54:05,437 WARN [KafkaRaftServer nodeId=1] odd", "warning"),
        (b"[2026-11-22 04:54:05,437] INFO Kafka Server started", "info"),
        (b"FATAL: it broke", "critical"),
        (b"15:C 22 Nov 2026 04:38:34.123 # Redis warning", "warning"),
        (b"15:M 22 Nov 2026 04:38:34.123 * Ready", "info"),
        (b"just words about information", ""),
        (b'{"level": "error"}', "error"),
    ],
)
def test_levels(raw: bytes, level: str):
    """The level is found where these programs write it."""
    assert parse(raw).line.level == level


def test_times():
    """A line's own time is read, a line without one has none."""
    assert parse(b"2026-11-22T04:54:05.5Z hello").time == datetime(2026, 11, 22, 4, 54, 5, 500000, UTC)
    assert parse(b"15:M 22 Nov 2026 04:38:34.123 * Ready").time is not None
    assert parse(b"hello").time is None
    assert parse(b"2026-99-99T04:54:05Z hello").time is None


def test_bad_utf8_stays_visible():
    """Bytes that are no UTF-8 are shown, not lost."""
    assert parse(b"a\xff\xfeb").line.message == "a\\xff\\xfeb"


@given(st.binary(max_size=200))
def test_every_line_becomes_an_event(raw: bytes):
    """Whatever a file holds can be parsed and encoded."""
    parsed = parse(raw)
    msgspec.json.encode(parsed)
    assert text_of(raw) == text_of(raw.rstrip(b"\r\n")) or b"\\" in raw
