"""The bounds of a stream's event times."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cleaning import Cleaning
from schemas.errors import Reason, Rejected
from streams.operators.timestamps import Remark, Timestamps

MOMENT = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)


def judge(text: str, arrival_ms: int = 1_773_480_413_000, /, **config: object) -> tuple[datetime, Remark]:
    """Resolve a time against the moment."""
    times = Timestamps(
        Cleaning.model_validate({"max_age": "1d", "max_future": "1m", "late_after": "1h", **config})
    )
    times.at(MOMENT)
    return times.resolve(text, arrival_ms)


def test_late_missing_and_refused_times():
    """Lateness is flagged; what is out of bounds is rejected with its own reason."""
    assert judge("2026-03-14T09:26:53Z") == (MOMENT, "")
    assert judge("2026-03-14T08:00:00Z")[1] == "late"
    assert judge("") == (MOMENT, "missing")
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
    assert times.resolve("0001-01-01T00:00:00Z", 0)[1] == "late"


def test_times_out_of_bounds_by_policy():
    """Too old: accepted late, or taken for the arrival. Ahead: the arrival at most."""
    old, ahead = "2026-03-01T00:00:00Z", "2026-03-14T12:00:00Z"
    assert judge(old, too_old="accept") == (datetime(2026, 3, 1, tzinfo=UTC), "late")
    assert judge(old, too_old="arrival") == (MOMENT, "replaced")
    assert judge(ahead, in_future="arrival") == (MOMENT, "replaced")


@pytest.mark.parametrize("arrival_ms", [-1, 0, 10**18, 1_900_000_000_000])
def test_an_arrival_that_is_none_is_now(arrival_ms):
    """A producer may stamp its record with anything; then the batch's own moment counts."""
    assert judge("", arrival_ms) == (MOMENT, "missing")


def test_a_year_is_inferred_from_the_batch():
    """Syslog's times belong to the year that is nearest behind."""
    assert judge("Mar 14 09:26:53")[0] == MOMENT


@given(st.text(max_size=40), st.integers(-(2**63), 2**63 - 1))
def test_any_time_is_resolved_or_rejected(text, arrival_ms):
    """No text and no stamp raises anything else."""
    try:
        moment, *_ = judge(text, arrival_ms, too_old="arrival", in_future="arrival")
    except Rejected:
        return
    assert moment.utcoffset() == timedelta(0)
