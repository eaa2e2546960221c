"""Quiet hours: which minutes lie in them, and when they end."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.hours import is_quiet, quiet_until

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)

_CLOCK = st.times().map(lambda time: f"{time:%H:%M}")


@pytest.mark.parametrize(
    ("hours", "at", "quiet"),
    [
        ("", "03:00", False),
        ("22:00-07:00", "21:59", False),
        ("22:00-07:00", "22:00", True),
        ("22:00-07:00", "06:59", True),
        ("22:00-07:00", "07:00", False),
        ("12:00-13:30", "13:29", True),
        ("12:00-13:30", "13:30", False),
    ],
)
def test_quiet_hours_may_span_midnight(hours: str, at: str, quiet: bool) -> None:
    """The first minute is quiet, the last one is not."""
    hour, minute = map(int, at.split(":"))
    assert is_quiet(hours, NOW.replace(hour=hour, minute=minute)) is quiet


def test_they_end_today_or_tomorrow() -> None:
    """In the evening those that span midnight end on the next day, in the morning on this one."""
    evening, morning = NOW.replace(hour=23, second=7), NOW.replace(hour=6)
    assert quiet_until("22:00-07:00", evening) == datetime(2026, 3, 15, 7, 0, tzinfo=UTC)
    assert quiet_until("22:00-07:00", morning) == datetime(2026, 3, 14, 7, 0, tzinfo=UTC)
    assert quiet_until("22:00-07:00", NOW) is None
    assert quiet_until("", NOW) is None


@given(_CLOCK, _CLOCK, st.integers(0, 2 * 86_400))
def test_the_end_is_the_first_moment_that_is_not_quiet(begin: str, end: str, second: int) -> None:
    """At the end it is over, a minute before it is not, and it is less than a day away."""
    hours, now = f"{begin}-{end}", NOW + timedelta(seconds=second)
    until = quiet_until(hours, now)
    if until is None:
        assert not is_quiet(hours, now)
        return
    assert now < until <= now + timedelta(days=1)
    assert not is_quiet(hours, until)
    assert is_quiet(hours, until - timedelta(minutes=1))
