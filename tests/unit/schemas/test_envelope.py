"""Decoding of CloudEvents: every mode, every reason, and nothing that raises anything else."""

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import decode_document, decode_event, identity_of
from schemas.errors import Reason, Rejected
from schemas.raw import ApiRequest, LogLine, Payload, RawEvent, SensorReading, event_type, structured
from schemas.record import Kind

GOOD = structured("42", "web-1", Kind.LOG, {"message": "started"}, time="2026-03-14T09:26:53Z", stream="logs")


def encoded(**changes: Any) -> bytes:
    """Encode the good event with some attributes changed; None leaves one out."""
    event = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return msgspec.json.encode(event)


def read(event: RawEvent) -> dict[str, Any]:
    """Return what the cleaning stage reads of an event."""
    return {name: getattr(event, name) for name in RawEvent.__struct_fields__}


@pytest.mark.parametrize("kind", Kind)
def test_structured_events_of_every_kind_are_read(kind):
    """An event of each kind comes out with its payload in the kind's own shape."""
    payloads: dict[Kind, Payload] = {
        Kind.SENSOR: SensorReading(values={"cpu": 37.5, "fan": None}, units={"cpu": "%"}),
        Kind.API: ApiRequest(method="GET", path="/", headers={"host": "shop"}),
        Kind.LOG: LogLine(message="started", level="INFO"),
    }
    event = decode_event(msgspec.json.encode(structured("1", "s", kind, payloads[kind])))
    assert event.kind is kind
    assert event.data == payloads[kind]


def test_binary_mode_equals_structured_mode():
    """The same event, attributes in headers, decodes to the same thing."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"42"),
        ("ce_source", b"web-1"),
        ("ce_type", event_type(Kind.LOG).encode()),
        ("ce_time", b"2026-03-14T09:26:53Z"),
        ("ce_stream", b"logs"),
        ("content-type", b"application/json"),
    ]
    assert read(decode_event(b'{"message":"started"}', headers)) == read(decode_event(encoded()))


def test_the_content_type_decides_the_mode():
    """A structured event with stray `ce_` headers is read as structured."""
    headers = [("ce_id", b"other"), ("content-type", b"application/cloudevents+json; charset=UTF-8")]
    assert decode_event(encoded(), headers).id == "42"


def test_extension_attributes_are_allowed():
    """Attributes that Headrace does not know are skipped, as CloudEvents demands."""
    assert decode_event(encoded(traceparent="00-abc", datacontenttype="application/json")).id == "42"


def test_base64_data_is_decoded():
    """`data_base64` carries the same JSON."""
    data = base64.b64encode(b'{"message":"started"}').decode()
    assert decode_event(encoded(data=None, data_base64=data)).data == LogLine(message="started")


def test_numbers_are_taken_as_time():
    """Epoch seconds may come as a JSON number."""
    assert decode_event(encoded(time=1773480413)).time == "1773480413"
    assert decode_event(encoded(time=1773480413.25)).time == "1773480413.25"


REFUSALS = {
    "tombstone": (None, Reason.EMPTY, ""),
    "empty": (b"", Reason.EMPTY, ""),
    "oversized": (b" " * 2000, Reason.OVERSIZED, ""),
    "utf8": (b'{"specversion":"1.0","id":"\xff"}', Reason.INVALID_UTF8, ""),
    "utf8 in an extension": (encoded(note="@").replace(b"@", b"\xff"), Reason.INVALID_UTF8, ""),
    "malformed": (b'{"specversion":', Reason.MALFORMED_JSON, ""),
    "deep": (b"[" * 1900, Reason.MALFORMED_JSON, ""),
    "list": (b"[1]", Reason.NOT_CLOUDEVENTS, ""),
    "no version": (encoded(specversion=None), Reason.NOT_CLOUDEVENTS, "specversion"),
    "old version": (encoded(specversion="0.3"), Reason.UNKNOWN_SPECVERSION, "specversion"),
    "no id": (encoded(id=None), Reason.MISSING_ID, "id"),
    "empty id": (encoded(id=""), Reason.MISSING_ID, "id"),
    "number as id": (encoded(id=7), Reason.WRONG_TYPE, "id"),
    "long id": (encoded(id="é" * 300), Reason.OVERSIZED, "id"),
    "no source": (encoded(source=None), Reason.MISSING_SOURCE, "source"),
    "no type": (encoded(type=None), Reason.MISSING_FIELD, "type"),
    "kind": (encoded(type="com.example.thing.v1"), Reason.UNKNOWN_KIND, "type"),
    "version": (encoded(type="headrace.log.line.v9"), Reason.UNKNOWN_VERSION, "type"),
    "no data": (encoded(data=None), Reason.MISSING_FIELD, "data"),
    "text data": (encoded(data="x"), Reason.WRONG_TYPE, "data"),
    "field missing": (encoded(data={"level": "INFO"}), Reason.MISSING_FIELD, "data.message"),
    "field unknown": (encoded(data={"message": "x", "colour": 1}), Reason.UNKNOWN_FIELD, "data.colour"),
    "field type": (encoded(data={"message": 3}), Reason.WRONG_TYPE, "data.message"),
    "reading type": (
        encoded(type=event_type(Kind.SENSOR), data={"values": {"cpu": 1, "fan": True}}),
        Reason.WRONG_TYPE,
        "data.values.fan",
    ),
    "bad base64": (encoded(data=None, data_base64="%%"), Reason.WRONG_TYPE, "data_base64"),
    "time type": (encoded(time=[]), Reason.WRONG_TYPE, "time"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_every_refusal_names_its_reason_and_field(case):
    """What is wrong is told by a stable code and the path of the field."""
    value, reason, field = REFUSALS[case]
    with pytest.raises(Rejected) as caught:
        decode_event(value, max_bytes=1950)
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_binary_headers_are_named_as_they_are_spelt():
    """In binary mode the offending field is the header."""
    with pytest.raises(Rejected) as caught:
        decode_event(b"{}", [("ce_specversion", b"1.0"), ("ce_source", b"s"), ("ce_type", b"t")])
    assert (caught.value.reason, caught.value.field) == (Reason.MISSING_ID, "ce_id")
    with pytest.raises(Rejected) as caught:
        decode_event(b"{}", [("ce_specversion", b"1.0"), ("ce_id", b"\xff")])
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_UTF8, "ce_id")


def test_the_identity_of_a_rejected_event_is_read_where_it_can_be():
    """A dead letter still says whose event it was."""
    assert identity_of(encoded(data={"message": 3})) == ("web-1", "42", "logs")
    assert identity_of(b"\xff") == ("", "", "")
    assert identity_of(b"{}", [("ce_id", b"9"), ("ce_source", b"s")]) == ("s", "9", "")


def test_damaged_text_is_repaired_where_that_is_asked():
    """Bytes that are no UTF-8 and halves of surrogate pairs read U+FFFD, and the event says so."""
    damaged = encoded(data={"message": "caf@ #"}).replace(b"@", b"\xe9").replace(b"#", b"\\ud83d")
    event = decode_event(damaged, repair=True)
    assert event.data == LogLine(message="caf\ufffd \ufffd")
    assert event.repaired
    assert not decode_event(encoded(), repair=True).repaired
    with pytest.raises(Rejected) as caught:
        decode_event(damaged)
    assert caught.value.reason is Reason.INVALID_UTF8


def test_repair_reaches_every_mode():
    """The data of binary mode, of base64, and behind a byte order mark."""
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"s")]
    headers.append(("ce_type", event_type(Kind.LOG).encode()))
    for event in (
        decode_event(b'{"message":"a\xff"}', headers, repair=True),
        decode_event(
            encoded(data=None, data_base64=base64.b64encode(b'{"message":"a\xff"}').decode()), repair=True
        ),
    ):
        assert event.data == LogLine(message="a\ufffd")
        assert event.repaired
    assert decode_event(b"\xef\xbb\xbf" + encoded(), repair=True).data == LogLine(message="started")


@pytest.mark.parametrize("field", ["id", "source"])
def test_an_identity_is_never_repaired(field):
    """Two damaged ids could become one, and an event would be lost as a duplicate."""
    with pytest.raises(Rejected) as caught:
        decode_event(encoded(**{field: "a@"}).replace(b"@", b"\xff"), repair=True)
    assert (caught.value.reason, caught.value.field) == (Reason.INVALID_UTF8, field)


def test_an_escaped_backslash_is_no_damage():
    """A text about an escape stays what it is, whole pairs stay characters."""
    event = decode_event(encoded(data={"message": "\\ud83d \U0001f600"}), repair=True)
    assert event.data == LogLine(message="\\ud83d \U0001f600")
    assert not event.repaired


@given(
    st.binary(max_size=300),
    st.lists(st.tuples(st.sampled_from(["ce_id", "ce_type", "x"]), st.binary(max_size=9))),
    st.booleans(),
)
def test_arbitrary_bytes_are_read_or_rejected(value, headers, repair):
    """No input raises anything but Rejected."""
    try:
        event = decode_event(value, headers, max_bytes=250, repair=repair)
    except Rejected:
        return
    assert isinstance(event, RawEvent)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=4))
def test_damaged_bytes_are_repaired_or_rejected(at, damage):
    """A good event with some bytes overwritten is read or rejected, and what is read is whole text."""
    document = encoded(data={"message": "m" * 200})
    try:
        event = decode_document(document[:at] + damage + document[at + len(damage) :], repair=True)
    except Rejected:
        return
    assert isinstance(event.data, LogLine)
    event.data.message.encode()


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), JSON, max_size=2))
def test_damaged_events_are_read_or_rejected(damage):
    """A good event with some attributes replaced by any JSON never raises anything but Rejected."""
    document = msgspec.json.encode({**GOOD, **damage})
    try:
        event = decode_document(document)
    except Rejected:
        return
    assert event.id
    assert event.source
