"""The fingerprint of an event's content: what counts as the same, and what does not."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import decode_event
from schemas.raw import RawEvent, structured
from schemas.record import Kind
from streams.operators.content import content_fingerprint

TIME = "2026-03-14T09:26:53Z"


def event(payload: dict[str, Any], kind: Kind = Kind.LOG, **attributes: Any) -> RawEvent:
    """Decode an event as the pipeline does; attributes override the envelope's."""
    document = {**structured("1", "web-1", kind, payload, time=TIME), **attributes}
    return decode_event(msgspec.json.encode(document))


def test_the_id_does_not_count():
    """The same source, time and payload under another id is the same content."""
    assert content_fingerprint(event({"message": "a"})) == content_fingerprint(
        event({"message": "a"}, id="2")
    )


@pytest.mark.parametrize(
    "other",
    [
        {"source": "web-2"},
        {"time": "2026-03-14T09:26:53.001Z"},
        {"data": {"message": "b"}},
        {"data": {"message": "a", "host": "h"}},
    ],
)
def test_source_time_and_payload_count(other):
    """Another source, a millisecond later, or any other field makes another content."""
    assert content_fingerprint(event({"message": "a"})) != content_fingerprint(
        event({"message": "a"}, **other)
    )


@pytest.mark.parametrize("time", ["2026-03-14T10:26:53+01:00", "2026-03-14 09:26:53.000Z", "1773480413"])
def test_the_spelling_of_a_time_does_not_count(time):
    """One moment is one moment, in whatever zone and form it was written."""
    assert content_fingerprint(event({"message": "a"}, time=time)) == content_fingerprint(
        event({"message": "a"})
    )


def test_numbers_that_cleaning_masks_count():
    """Lines that differ in an order number alone are two events."""
    assert content_fingerprint(event({"message": "order 1"})) != content_fingerprint(
        event({"message": "order 2"})
    )


@pytest.mark.parametrize("time", ["", "soon"])
def test_without_a_time_nothing_is_a_copy(time):
    """Equal payloads without a readable time have no content fingerprint."""
    assert content_fingerprint(event({"message": "a"}, time=time)) is None


@given(
    st.dictionaries(st.sampled_from("abcd"), st.integers(-9, 9), min_size=1),
    st.randoms(use_true_random=False),
)
def test_order_and_spelling_of_readings_do_not_count(values, shuffle):
    """Readings in another order, whole numbers written as decimals: the same content."""
    names = list(values)
    shuffle.shuffle(names)
    again = {name: float(values[name]) for name in names}
    assert content_fingerprint(event({"values": values}, Kind.SENSOR)) == content_fingerprint(
        event({"values": again}, Kind.SENSOR)
    )
