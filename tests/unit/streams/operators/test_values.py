"""Readings become numbers in the stream's units, within its ranges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import Cleaning
from schemas.errors import Reason, Rejected
from schemas.raw import SensorReading
from streams.operators.values import _UNITS, MAX_READINGS, Values, converted


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


@given(st.floats(-1e6, 1e6), st.sampled_from(sorted(_UNITS)), st.data())
def test_conversion_goes_back(value, unit, data):
    """Converting there and back returns the value, for every pair of units of one dimension."""
    same = [name for name, spec in _UNITS.items() if spec[0] == _UNITS[unit][0]]
    other = data.draw(st.sampled_from(same))
    back = converted(converted(value, unit, other), other, unit)
    assert back == pytest.approx(value, rel=1e-9, abs=1e-3)


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
