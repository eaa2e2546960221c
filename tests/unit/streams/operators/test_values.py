"""Readings become numbers in the stream's units, within its ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cleaning import Cleaning
from schemas.errors import Reason, Rejected
from schemas.raw import SensorReading
from streams.operators.values import MAX_READINGS, Values


def test_numbers_strings_and_gaps():
    """Numeric strings are repaired, the ways to write `missing` are understood."""
    reading = SensorReading(values={"a": 1.5, "b": 2, "c": " 3.25 ", "d": None, "e": "N/A", "f": "nan"})
    numbers, repaired = Values(Cleaning()).read(reading)
    assert numbers == {"a": 1.5, "b": 2.0, "c": 3.25, "d": None, "e": None, "f": None}
    assert repaired == ["c"]


def test_units_become_the_streams_own():
    """A reading in another unit is converted; without a unit of the stream it stays."""
    values = Values(Cleaning(units={"temp": "degC"}))
    numbers, _ = values.read(
        SensorReading(values={"temp": 212.0, "p": 1.0}, units={"temp": "degF", "p": "bar"})
    )
    assert numbers["temp"] == pytest.approx(100.0)
    assert numbers["p"] == 1.0


@pytest.mark.parametrize(
    ("decimal", "text", "number"),
    [
        (".", "1,234,567", 1234567.0),
        (".", "1,234.5", 1234.5),
        (".", "1 234.5", 1234.5),
        (".", "1'234.5", 1234.5),
        (".", "\N{MINUS SIGN}5", -5.0),
        (".", "1.5e3", 1500.0),
        (",", "3,25", 3.25),
        (",", "1.234,5", 1234.5),
        (",", "1\N{NO-BREAK SPACE}234,5", 1234.5),
        (",", "1.234", 1234.0),
    ],
)
def test_decimals_and_thousands(decimal, text, number):
    """Numbers as people write them, by the stream's decimal sign."""
    numbers, repaired = Values(Cleaning(decimal=decimal)).read(SensorReading(values={"a": text}))
    assert (numbers, repaired) == ({"a": number}, ["a"])


@pytest.mark.parametrize(("decimal", "text"), [(".", "1,234"), (".", "3,25"), (",", "1.5"), (",", "1,2,3")])
def test_what_may_mean_two_numbers_is_refused(decimal, text):
    """Better a rejection than a reading a thousand times too large."""
    with pytest.raises(Rejected, match="decimals follow"):
        Values(Cleaning(decimal=decimal)).read(SensorReading(values={"a": text}))


def test_a_unit_may_stand_behind_the_number():
    """It converts as one that is named beside the reading; a named one counts more."""
    values = Values(Cleaning(units={"t": "K"}))
    assert values.read(SensorReading(values={"t": "0 °C"}))[0]["t"] == pytest.approx(273.15)
    assert values.read(SensorReading(values={"t": "0 °C"}, units={"t": "K"}))[0]["t"] == 0.0


def test_out_of_range_is_clipped_or_dropped():
    """Clipped to the nearer bound, or missing; both are flagged as repaired."""
    reading = SensorReading(values={"a": 12.0, "b": -3.0, "c": 1.0})
    ranges = {"a": (0.0, 10.0), "b": (0.0, 10.0), "c": (0.0, 10.0)}
    clip = Values(Cleaning(ranges=ranges, out_of_range="clip")).read(reading)
    assert clip == ({"a": 10.0, "b": 0.0, "c": 1.0}, ["a", "b"])
    drop = Values(Cleaning(ranges=ranges, out_of_range="drop")).read(reading)
    assert drop == ({"a": None, "b": None, "c": 1.0}, ["a", "b"])


@given(
    st.text(max_size=40) | st.text(st.sampled_from("0123456789.,'+-eE %CK"), max_size=12),
    st.sampled_from([".", ","]),
)
def test_any_text_is_a_number_missing_or_refused(text, decimal):
    """Nothing but a rejection is raised, and what is read is finite."""
    try:
        numbers, _ = Values(Cleaning(decimal=decimal)).read(SensorReading(values={"a": text}))
    except Rejected:
        return
    assert numbers["a"] is None or abs(numbers["a"]) < float("inf")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_as_text_is_that_float(number):
    """Machines' own way to write numbers loses nothing."""
    assert Values(Cleaning()).read(SensorReading(values={"a": repr(number)}))[0]["a"] == number


@pytest.mark.parametrize(
    ("reading", "reason", "field"),
    [
        (SensorReading(values={"t": "warm"}), Reason.WRONG_TYPE, "data.values.t"),
        (SensorReading(values={"t": "1_0"}), Reason.WRONG_TYPE, "data.values.t"),
        (SensorReading(values={"t": 999}), Reason.OUT_OF_RANGE, "data.values.t"),
        (SensorReading(values={"x": 10**400}), Reason.OUT_OF_RANGE, "data.values.x"),
        (SensorReading(values={"x": "1e999"}), Reason.OUT_OF_RANGE, "data.values.x"),
        (SensorReading(values={"t": 1}, units={"t": "bar"}), Reason.WRONG_TYPE, "data.units.t"),
        (SensorReading(values={"t": 1}, units={"t": "furlong"}), Reason.WRONG_TYPE, "data.units.t"),
        (SensorReading(values={"x" * 200: 1}), Reason.OVERSIZED, "data.values"),
        (
            SensorReading(values=dict.fromkeys(map(str, range(MAX_READINGS + 1)), 1)),
            Reason.OVERSIZED,
            "data.values",
        ),
    ],
)
def test_refusals(reading, reason, field):
    """What cannot be used names its field."""
    with pytest.raises(Rejected) as caught:
        Values(Cleaning(units={"t": "C"}, ranges={"t": (-50.0, 150.0)})).read(reading)
    assert (caught.value.reason, caught.value.field) == (reason, field)
