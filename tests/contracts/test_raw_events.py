"""Raw events: whatever the published schema allows a publisher to send, the envelope reads."""

import json
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas import examples
from schemas.codec import encode
from schemas.envelope import decode_event
from schemas.errors import Rejected
from schemas.jsonschemas import PAYLOADS
from schemas.lift import SensorReadingV1, lift
from schemas.publish import CATALOG
from schemas.raw import PAYLOADS as CURRENT
from schemas.raw import RawEvent
from tests.contracts.strategies import instances

EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=20)


@cache
def published(name: str) -> Draft202012Validator:
    """Return a validator over the schema that lies in the catalog."""
    return Draft202012Validator(json.loads((CATALOG / f"{name}.schema.json").read_text()))


def headers_of(event: dict[str, Any]) -> list[tuple[str, bytes]]:
    """Return a structured event's attributes as the headers of binary mode."""
    attributes = {key: value for key, value in event.items() if key not in {"data", "datacontenttype"}}
    return [(f"ce_{key}", str(value).encode()) for key, value in attributes.items()]


@pytest.mark.parametrize("name", list(PAYLOADS))
@EXAMPLES
@given(data=st.data())
def test_what_the_schema_allows_is_read_and_lifted(name: str, data: st.DataObject) -> None:
    """Both modes of any version come out as the same event in the current version."""
    payload = data.draw(instances(PAYLOADS[name]))
    assume(not isinstance(payload, SensorReadingV1) or payload.sensor)
    event = examples.envelope(name, json.loads(encode(payload)))
    event |= {"id": data.draw(NAMES), "source": data.draw(NAMES), "extension": "kept out"}
    published(name).validate(event)
    structured = decode_event(json.dumps(event).encode())
    binary = decode_event(json.dumps(event["data"]).encode(), headers_of(event))
    assert all(getattr(structured, name) == getattr(binary, name) for name in RawEvent.__struct_fields__)
    assert (structured.id, structured.source) == (event["id"], event["source"])
    assert structured.data == lift(payload)
    assert type(structured.data) is CURRENT[structured.kind]


@pytest.mark.parametrize("name", list(PAYLOADS))
@pytest.mark.parametrize(
    "change", [{"id": ""}, {"source": None}, {"data": []}, {"specversion": "0.3"}, {"time": []}]
)
def test_what_the_reader_refuses_the_schema_refuses(name: str, change: dict[str, Any]) -> None:
    """A publisher who validates before sending is not surprised later."""
    event = examples.envelope(name, examples.PAYLOADS[name]) | change
    assert not published(name).is_valid(event)
    with pytest.raises(Rejected):
        decode_event(json.dumps(event).encode())


@pytest.mark.parametrize("name", list(PAYLOADS))
def test_an_unknown_field_of_the_payload_is_refused(name: str) -> None:
    """A misspelt reading never disappears silently."""
    event = examples.envelope(name, examples.PAYLOADS[name] | {"surprise": 1})
    assert not published(name).is_valid(event)
    with pytest.raises(Rejected, match="surprise"):
        decode_event(json.dumps(event).encode())


def test_every_type_has_an_example() -> None:
    """The catalog shows each accepted event once, and each example decodes."""
    assert set(examples.PAYLOADS) == set(PAYLOADS)
    for name, payload in examples.PAYLOADS.items():
        assert isinstance(msgspec.convert(payload, PAYLOADS[name]), PAYLOADS[name])
