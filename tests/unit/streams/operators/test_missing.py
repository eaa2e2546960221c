"""The five policies for missing readings."""

import pytest

from schemas.cleaning import Cleaning
from schemas.errors import Reason, Rejected
from streams.operators.history import Recent
from streams.operators.missing import Missing


def past(*readings: float) -> Recent:
    """Make a name's history."""
    recent = Recent()
    for reading in readings:
        recent.add(reading)
    return recent


@pytest.mark.parametrize(
    ("policy", "filled", "imputed"),
    [
        ("last", {"a": 1.0, "b": 7.0}, ["b"]),
        ("mean", {"a": 1.0, "b": 5.0}, ["b"]),
        ("median", {"a": 1.0, "b": 6.0}, ["b"]),
        ("constant", {"a": 1.0, "b": -1.0, "c": -1.0}, ["b", "c"]),
        ("drop", {"a": 1.0}, []),
    ],
)
def test_policies(policy, filled, imputed):
    """Each policy fills from what it may; where there is no past, the reading is left out."""
    operator = Missing(Cleaning(missing=policy, constant=-1.0))
    recent = {"b": past(2.0, 3.0, 7.0, 6.0, 7.0)}
    assert operator.fill({"a": 1.0, "b": None, "c": None}, recent) == (filled, imputed)


def test_an_event_without_any_value_is_refused():
    """Nothing to impute from leaves nothing to keep."""
    with pytest.raises(Rejected) as caught:
        Missing(Cleaning()).fill({"a": None}, {})
    assert caught.value.reason is Reason.MISSING_VALUE


def test_the_mean_of_huge_readings_is_no_failure():
    """Where the sum overflows, the last reading stands in for it."""
    operator = Missing(Cleaning(missing="mean"))
    assert operator.fill({"a": None}, {"a": past(1e308, 1e308)}) == ({"a": 1e308}, ["a"])


def test_the_last_reading_is_the_newest_after_many():
    """The ring of readings knows which is newest once it is full."""
    recent = past(*(float(at) for at in range(150)))
    assert recent.last == 149.0
    assert len(recent.readings) == 64
