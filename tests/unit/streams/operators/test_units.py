"""Units of measurement convert there and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.operators.units import UNITS, converted


@given(st.floats(-1e6, 1e6), st.sampled_from(sorted(UNITS)), st.data())
def test_conversion_goes_back(value, unit, data):
    """Converting there and back returns the value, for every pair of units of one dimension."""
    same = [name for name, spec in UNITS.items() if spec[0] == UNITS[unit][0]]
    other = data.draw(st.sampled_from(same))
    there = converted(value, unit, other)
    offsets = (abs(UNITS[unit][2]) + abs(UNITS[other][2])) / UNITS[unit][1]
    assert converted(there, other, unit) == pytest.approx(value, rel=1e-9, abs=1e-9 * (1 + offsets))


@pytest.mark.parametrize(
    ("value", "unit", "wanted", "expected"),
    [
        (212.0, "degF", "C", 100.0),
        (491.67, "R", "K", 273.15),
        (760.0, "mmHg", "hPa", 1013.25),
        (1.0, "mi", "km", 1.609344),
        (1.0, "gal", "l", 3.785411784),
        (36.0, "km/h", "m/s", 10.0),
        (1500.0, "rpm", "Hz", 25.0),
        (8.0, "Mbit/s", "MB/s", 1.0),
        (1.0, "kWh", "MJ", 3.6),
        (5.0, "\N{GREEK SMALL LETTER MU}m", "mm", 0.005),
        (20.0, "Celsius", "K", 293.15),
        (2.0, "hours", "min", 120.0),
    ],
)
def test_examples(value, unit, wanted, expected):
    """Symbols, codes and words, by hand."""
    assert converted(value, unit, wanted) == pytest.approx(expected)


@pytest.mark.parametrize(("unit", "wanted"), [("C", "bar"), ("furlong", "m"), ("m", "furlong"), ("MW", "mw")])
def test_what_does_not_convert_is_refused(unit, wanted):
    """Another dimension, and what no table names."""
    with pytest.raises(ValueError, match="unit"):
        converted(1.0, unit, wanted)
