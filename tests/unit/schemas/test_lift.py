"""Version 1 payloads become version 2 on read."""

from typing import Any

import msgspec
import pytest

from schemas.envelope import decode_event
from schemas.errors import Reason, Rejected
from schemas.lift import lift
from schemas.raw import ApiRequest, LogLine, SensorReading, event_type, structured
from schemas.record import Kind


def first(kind: Kind, data: dict[str, Any]) -> bytes:
    """Encode an event of version 1."""
    return msgspec.json.encode({**structured("1", "s", kind, data), "type": event_type(kind, 1)})


def test_one_reading_becomes_a_map():
    """A sensor event of version 1 held one reading with its unit."""
    event = decode_event(first(Kind.SENSOR, {"sensor": "temp", "value": 21.5, "unit": "C"}))
    assert event.data == SensorReading(values={"temp": 21.5}, units={"temp": "C"})


@pytest.mark.parametrize(
    ("url", "path", "query"),
    [
        ("/x?a=1", "/x", "a=1"),
        ("https://shop.example/x?a=1#top", "/x", "a=1"),
        ("https://shop.example", "/", ""),
    ],
)
def test_a_url_is_taken_apart(url, path, query):
    """A request of version 1 held its URL in one piece, absolute or not."""
    event = decode_event(first(Kind.API, {"url": url, "method": "POST", "status": 201}))
    assert event.data == ApiRequest(method="POST", path=path, query=query, status=201)


def test_a_line_becomes_a_message():
    """A log event of version 1 called its text `line`."""
    assert decode_event(first(Kind.LOG, {"line": "up", "level": "INFO"})).data == LogLine(
        message="up", level="INFO"
    )


def test_old_and_new_fields_do_not_mix():
    """A version 2 field in a version 1 event is unknown there."""
    with pytest.raises(Rejected) as caught:
        decode_event(first(Kind.LOG, {"message": "up", "line": "up"}))
    assert (caught.value.reason, caught.value.field) == (Reason.UNKNOWN_FIELD, "data.message")


def test_a_nameless_sensor_is_refused():
    """A reading without a name cannot be put under one."""
    with pytest.raises(Rejected) as caught:
        decode_event(first(Kind.SENSOR, {"sensor": "", "value": 1}))
    assert caught.value.field == "data.sensor"


def test_current_payloads_pass_unchanged():
    """Lifting is for older versions only."""
    line = LogLine(message="x")
    assert lift(line) is line
