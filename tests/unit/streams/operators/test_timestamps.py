"""The bounds of a stream's event times."""

from datetime import UTC, datetime

import pytest

from schemas.config import Cleaning
from schemas.errors import Reason, Rejected
from streams.operators.timestamps import Timestamps

MOMENT = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)


def judge(text: str, **config: object) -> tuple[datetime, bool, bool]:
    """Resolve a time against the moment."""
    times = Timestamps(
        Cleaning.model_validate({"max_age": "1d", "max_future": "1m", "late_after": "1h", **config})
    )
    times.at(MOMENT)
    return times.resolve(text, 1_773_480_413_000)


def test_late_missing_and_refused_times():
    """Lateness is flagged; what is out of bounds is rejected with its own reason."""
    assert judge("2026-03-14T09:26:53Z") == (MOMENT, False, False)
    assert judge("2026-03-14T08:00:00Z")[1] is True
    assert judge("") == (MOMENT, False, True)
    for text, reason, config in (
        ("2026-03-12T09:00:00Z", Reason.TOO_OLD, {}),
        ("2026-03-14T09:30:00Z", Reason.IN_THE_FUTURE, {}),
        ("soon", Reason.BAD_TIMESTAMP, {}),
        ("", Reason.BAD_TIMESTAMP, {"missing_time": "reject"}),
    ):
        with pytest.raises(Rejected) as caught:
            judge(text, **config)
        assert (caught.value.reason, caught.value.field) == (reason, "time")


def test_bounds_beyond_the_calendar_hold():
    """An age longer than the calendar does not overflow."""
    times = Timestamps(Cleaning(max_age=1e12))
    times.at(MOMENT)
    assert times.resolve("0001-01-01T00:00:00Z", 0)[1] is True
