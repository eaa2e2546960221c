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
        "2026-03-14 10:26:53 +0100",
        "2026-03-14T09:26:53,000Z",
        "20260314092653",
        "20260314092653Z",
        "2026-W11-6T09:26:53Z",
        "2026W116T092653Z",
        "2026-073T09:26:53Z",
        "2026073T092653Z",
        "2026/03/14 09:26:53",
        "2026-03-14-09.26.53.000000",
        "2026-03-14 09:26:53 UTC",
        "2026-03-14 05:26:53 EDT",
        "2026-03-14 10:26:53 Europe/Berlin",
        "2026-03-14T10:26:53[Europe/Berlin]",
        "2026-03-14T10:26:53+01:00[Europe/Berlin]",
        "Sat, 14 Mar 2026 05:26:53 EDT",
        "Saturday, 14-Mar-26 09:26:53 GMT",
        "Sat Mar 14 09:26:53 2026",
        "[Sat Mar 14 09:26:53.000000 2026]",
        "Sat Mar 14 09:26:53 UTC 2026",
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


def test_midnight_may_be_the_end_of_a_day():
    """ISO 8601 calls it 24:00."""
    assert parse("2026-03-13T24:00:00Z") == datetime(2026, 3, 14, tzinfo=UTC)
    assert parse("2026-03-13T24:00") == datetime(2026, 3, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        (
            "Nov 22 07:17:18",
            datetime(2026, 11, 22, 8, tzinfo=UTC),
            datetime(2026, 11, 22, 7, 17, 18, tzinfo=UTC),
        ),
        ("Dec 31 23:59:59", datetime(2027, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (
            "Jan  1 00:00:30",
            datetime(2026, 12, 31, 23, tzinfo=UTC),
            datetime(2027, 1, 1, 0, 0, 30, tzinfo=UTC),
        ),
        ("Feb 29 10:00:00", datetime(2027, 3, 1, tzinfo=UTC), datetime(2024, 2, 29, 10, tzinfo=UTC)),
        (
            "Nov 22 07:17:18.25",
            datetime(2026, 11, 22, 8, tzinfo=UTC),
            datetime(2026, 11, 22, 7, 17, 18, 250_000, tzinfo=UTC),
        ),
    ],
)
def test_syslogs_year_is_the_readers(text, now, expected):
    """A time without a year is the latest that is not ahead; a slow clock may be a day behind."""
    assert parse(text, now) == expected


def test_summer_time_is_the_zones_own():
    """A zone's name stands for its offset on that day."""
    assert parse("2026-07-14 10:26:53 Europe/Berlin") == datetime(2026, 7, 14, 8, 26, 53, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "Nov 22 07:17:18",
        "Sat, 14 Mar 2026 09:26:53 IST",
        "2026-03-14 09:26:53 Europe",
        "2026-03-14 09:26:53 ../../etc/passwd",
        "2026-03-14 09:26:53 Foo/Bar",
        "2026-366T00:00:00Z",
        "9999-12-31T24:00:00Z",
        "",
        "2026-13-01T00:00:00Z",
        "14/Foo/2026:09:26:53",
        "9" * 30,
        "x" * 65,
        "1" * 97,
        "-5",
        "٢٠٢٦-٠٣-١٤",
    ],
)
def test_other_text_is_no_time(text):
    """What is no accepted form raises ValueError."""
    with pytest.raises(ValueError):
        parse(text)


ODD = st.lists(
    st.sampled_from(
        [
            "2026",
            "-",
            "03",
            "14",
            "T",
            " ",
            ":",
            "60",
            "24",
            "Z",
            "+01",
            "[",
            "]",
            "Mar",
            "Sat",
            ",",
            ".",
            "UTC",
            "Europe/Berlin",
            "W11",
            "/",
            "e9",
        ]
    ),
    max_size=14,
).map("".join)


@given(st.text(max_size=100) | ODD, st.none() | st.just(MOMENT))
def test_any_text_is_a_time_or_a_value_error(text, now):
    """No text raises anything else, and every time read is aware UTC."""
    try:
        read = parse(text, now)
    except ValueError:
        return
    assert read.utcoffset() == timedelta(0)


@given(
    st.datetimes(min_value=datetime(1975, 1, 1), max_value=datetime(2090, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from(
        [
            "%Y%m%dT%H%M%SZ",
            "%Y%m%d%H%M%S",
            "%Y/%m/%d %H:%M:%S",
            "%Y-%jT%H:%M:%S",
            "%G-W%V-%uT%H:%M:%S",
            "%a, %d %b %Y %H:%M:%S GMT",
            "%a %b %d %H:%M:%S %Y",
            "%d/%b/%Y:%H:%M:%S +0000",
            "%Y-%m-%d %H:%M:%S UTC",
        ]
    ),
)
def test_all_forms_agree(moment, form):
    """A moment is read back from every form that it is written in."""
    assert parse(moment.strftime(form)) == moment.replace(microsecond=0)


@given(st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_iso_and_epoch_agree(moment):
    """A moment written as ISO 8601 or as epoch microseconds is read back exactly."""
    assert parse(moment.isoformat()) == moment
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    if micros >= 10**14:
        assert parse(str(micros)) == moment
