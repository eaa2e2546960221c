"""The four policies for missing readings."""

import pytest

from schemas.config import Cleaning
from schemas.errors import Reason, Rejected
from streams.operators.history import Recent
from streams.operators.missing import Missing


def past(*readings: float) -> Recent:
    """Make a name's history."""
    recent = Recent()
    recent.readings.extend(readings)
    return recent


@pytest.mark.parametrize(
    ("policy", "filled", "imputed"),
    [
        ("last", {"a": 1.0, "b": 6.0}, ["b"]),
        ("mean", {"a": 1.0, "b": 4.0}, ["b"]),
        ("constant", {"a": 1.0, "b": -1.0, "c": -1.0}, ["b", "c"]),
        ("drop", {"a": 1.0}, []),
    ],
)
def test_policies(policy, filled, imputed):
    """Each policy fills from what it may; where there is no past, the reading is left out."""
    operator = Missing(Cleaning(missing=policy, constant=-1.0))
    recent = {"b": past(2.0, 4.0, 6.0)}
    assert operator.fill({"a": 1.0, "b": None, "c": None}, recent) == (filled, imputed)


def test_an_event_without_any_value_is_refused():
    """Nothing to impute from leaves nothing to keep."""
    with pytest.raises(Rejected) as caught:
        Missing(Cleaning()).fill({"a": None}, {})
    assert caught.value.reason is Reason.MISSING_VALUE
