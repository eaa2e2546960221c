"""Which stream an event belongs to."""

import pytest

from schemas.config import Stream
from schemas.errors import Reason, Rejected
from schemas.raw import LogLine, RawEvent
from schemas.record import Kind
from schemas.route import Route

ROUTE = Route({"web": Stream(kind=Kind.LOG), "app": Stream(kind=Kind.LOG), "requests": Stream(kind=Kind.API)})


def event(stream: str, kind: Kind = Kind.LOG) -> RawEvent:
    """Make an event that names a stream."""
    return RawEvent(id="1", source="s", kind=kind, data=LogLine(message="x"), stream=stream)


def test_named_or_first_of_its_kind():
    """A named stream is taken; else the first of the kind in the file."""
    assert ROUTE.stream_of(event("app")) == "app"
    assert ROUTE.stream_of(event("")) == "web"


@pytest.mark.parametrize("wrong", [event("nope"), event("requests"), event("", Kind.SENSOR)])
def test_unknown_streams_are_refused(wrong):
    """No such stream, one of another kind, or none of the kind at all."""
    with pytest.raises(Rejected) as caught:
        ROUTE.stream_of(wrong)
    assert caught.value.reason is Reason.UNKNOWN_STREAM
