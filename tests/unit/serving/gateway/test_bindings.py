"""The CloudEvents HTTP binding."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from schemas.errors import Reason, Rejected
from serving.gateway.bindings import BATCH, NDJSON, STRUCTURED, Received, as_structured, events_of
from serving.gateway.problems import Refused

EVENT = b'{"specversion":"1.0","id":"1"}'
BINARY = {"content-type": "application/json", "ce-id": "1", "ce-source": "shop", "ce-type": "t"}


def split(headers: dict[str, str], body: bytes, max_events: int = 10):
    """Split a request."""
    return events_of(Headers(headers), body, max_events=max_events)


def test_structured_event_is_passed_on_as_it_came():
    """A structured event's bytes are not touched."""
    request = split({"content-type": f"{STRUCTURED}; charset=utf-8"}, EVENT)
    assert request.single
    assert as_structured(request.events[0]) == EVENT


def test_batch_is_split_and_each_event_keeps_its_bytes():
    """An array's members become events in order, bad ones included."""
    request = split({"content-type": BATCH}, b"[" + EVENT + b", 3 ,{}]")
    assert not request.single
    assert [event.value for event in request.events] == [EVENT, b"3", b"{}"]


def test_lines_are_split_and_empty_ones_passed_over():
    """NDJSON may end with a newline and have empty lines."""
    request = split({"content-type": NDJSON}, EVENT + b"\n\n" + b"nope\r\n")
    assert [event.value.strip() for event in request.events] == [EVENT, b"nope"]


def test_binary_event_becomes_structured():
    """Attributes come from ce-* headers, percent-decoded; the body becomes data."""
    request = split({**BINARY, "ce-source": "caf%C3%A9"}, b'{"a": 1}')
    document = json.loads(as_structured(request.events[0]))
    assert document["source"] == "café"
    assert document["data"] == {"a": 1}
    assert document["datacontenttype"] == "application/json"


@pytest.mark.parametrize("media", ["text/plain", "", "application/xml", "application/cloudevents+xml"])
def test_other_media_types_are_415(media: str):
    """What is none of the four bindings is refused with 415, naming the header."""
    with pytest.raises(Refused) as refused:
        split({"content-type": media}, EVENT)
    assert refused.value.status == 415
    assert refused.value.extra["field"] == "content-type"


def test_other_charsets_are_415():
    """A body that is declared as Latin-1 is not guessed at."""
    with pytest.raises(Refused) as refused:
        split({"content-type": f"{STRUCTURED}; charset=latin-1"}, EVENT)
    assert refused.value.status == 415


def test_json_without_attributes_says_what_is_missing():
    """Plain JSON without ce-* headers is no CloudEvent."""
    with pytest.raises(Rejected) as rejected:
        split({"content-type": "application/json"}, EVENT)
    assert rejected.value.reason is Reason.NOT_CLOUDEVENTS


@pytest.mark.parametrize("body", [b"", b"{}", b"[1,"])
def test_batch_that_is_no_array_is_malformed(body: bytes):
    """A broken batch is refused as a whole."""
    with pytest.raises(Rejected) as rejected:
        split({"content-type": BATCH}, body)
    assert rejected.value.reason is Reason.MALFORMED_JSON


def test_too_many_events_are_413():
    """The number of events of one request is bounded."""
    with pytest.raises(Refused) as refused:
        split({"content-type": NDJSON}, b"1\n" * 11)
    assert refused.value.status == 413


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_binary_data_survives_the_envelope(data: object):
    """Whatever JSON a binary event carries is the data of the structured one."""
    try:
        body = json.dumps(data).encode()
        event = Received(body, (("ce_id", b"1"), ("content-type", b"application/json")))
        assert json.loads(as_structured(event))["data"] == data
    except UnicodeEncodeError:
        raise AssertionError("JSON is ASCII here") from None
