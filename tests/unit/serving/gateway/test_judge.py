"""The check at the door."""

import json
from typing import Any

import pytest

from infra.runtime.settings import parse
from schemas.errors import Reason, Rejected
from schemas.raw import structured
from schemas.record import Kind
from serving.gateway.bindings import Received
from serving.gateway.judge import Judge

CONFIG = """
[streams.small]
kind = "api"
clean = {max_bytes = 400}
[streams.large]
kind = "api"
[streams.strict]
kind = "log"
clean = {missing_time = "reject"}
"""


def judged(kind: Kind = Kind.API, data: Any = None, **attributes: Any):
    """Judge one event."""
    event = structured("1", "shop", kind, data or {"method": "GET", "path": "/"})
    event.update(attributes)
    return Judge(parse(CONFIG, "test").streams).judge(Received(json.dumps(event).encode()))


def reason_and_field(**event: Any) -> tuple[Reason, str]:
    """Judge an event that must be refused."""
    with pytest.raises(Rejected) as rejected:
        judged(**event)
    return rejected.value.reason, rejected.value.field


def test_good_event_is_decoded():
    """An event that keeps its contract comes out decoded."""
    assert judged(stream="large").id == "1"


def test_stream_must_exist_and_be_of_the_kind():
    """An unknown stream, one of another kind, and a kind without a stream are named."""
    assert reason_and_field(stream="lareg") == (Reason.UNKNOWN_STREAM, "stream")
    assert reason_and_field(stream="strict") == (Reason.UNKNOWN_STREAM, "stream")
    data = {"values": {"a": 1}}
    assert reason_and_field(kind=Kind.SENSOR, data=data) == (Reason.UNKNOWN_STREAM, "type")


def test_size_is_the_streams_own():
    """A small stream refuses what a larger one takes."""
    data = {"method": "GET", "path": "/" + "x" * 500}
    assert reason_and_field(data=data) == (Reason.OVERSIZED, "")
    assert judged(data=data, stream="large").id == "1"


def test_time_that_is_none_is_refused():
    """A time that no form can read is refused here; a missing one only where the stream says so."""
    assert reason_and_field(time="yesterday at noon") == (Reason.BAD_TIMESTAMP, "time")
    assert reason_and_field(kind=Kind.LOG, data={"message": "m"}) == (Reason.BAD_TIMESTAMP, "time")
    assert judged(time="").id == "1"
