"""The ring of recent readings."""

import pytest
from headrace_native import WINDOW, Recent
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=3 * WINDOW))
def test_the_last_window_is_kept(readings):
    """In the order of the ring; the newest is told, and a copy made of its parts goes on alike."""
    recent = Recent()
    for number, reading in enumerate(readings, 1):
        assert recent.add(reading) == number
        assert recent.last == reading
    assert sorted(recent.readings) == sorted(readings[-WINDOW:])
    copy = Recent(recent.readings, recent.count, recent.low, recent.high)
    copy.add(1.0)
    recent.add(1.0)
    assert (copy.readings, copy.count, copy.last) == (recent.readings, recent.count, recent.last)


def test_an_empty_ring_has_no_last_reading():
    """It says so, instead of making one up."""
    with pytest.raises(IndexError, match="no reading"):
        _ = Recent().last
