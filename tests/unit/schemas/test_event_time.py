"""Every accepted form of time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.event_time import parse

MOMENT = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-14T09:26:53Z",
        "2026-03-14t09:26:53z",
        " 2026-03-14 09:26:53 ",
        "2026-03-14T10:26:53+01:00",
        "20260314T092653Z",
        "2026-03-14T09:26:53.000000999Z",
        "2026-03-14T09:26:52.60Z".replace("52.60", "53"),
        "1773480413",
        "1773480413.0",
        "1773480413000",
        "1773480413000000",
        "1773480413000000000",
        "1.773480413e9",
        "Sat, 14 Mar 2026 09:26:53 GMT",
        "Sat, 14 Mar 2026 10:26:53 +0100",
        "14/Mar/2026:09:26:53 +0000",
        "[14/Mar/2026:10:26:53 +0100]",
    ],
)
def test_accepted_forms_mean_the_same_moment(text):
    """Each way to write a moment is read as that moment, aware UTC."""
    read = parse(text)
    assert read == MOMENT
    assert read.utcoffset() == timedelta(0)


def test_a_leap_second_is_the_next_minute():
    """23:59:60 exists in publishers' clocks, not in Python's."""
    assert parse("2016-12-31T23:59:60Z") == datetime(2017, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "",
        "2026-13-01T00:00:00Z",
        "14/Foo/2026:09:26:53",
        "9" * 30,
        "x" * 65,
        "-5",
        "٢٠٢٦-٠٣-١٤",
    ],
)
def test_other_text_is_no_time(text):
    """What is no accepted form raises ValueError."""
    with pytest.raises(ValueError):
        parse(text)


@given(st.text(max_size=70))
def test_any_text_is_a_time_or_a_value_error(text):
    """No text raises anything else, and every time read is aware UTC."""
    try:
        read = parse(text)
    except ValueError:
        return
    assert read.utcoffset() == timedelta(0)


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_iso_and_epoch_agree(moment):
    """A moment written as ISO 8601 or as epoch microseconds is read back exactly."""
    assert parse(moment.isoformat()) == moment
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if micros >= 10**14:
        assert parse(str(micros)) == moment
