"""The codec: compact JSON out, typed records or a reasoned rejection in."""

import base64
import contextlib
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import decode, decoder, encode
from schemas.errors import Reason, Rejected
from schemas.examples import CONTRACTS
from schemas.label import Label
from schemas.prediction import Prediction
from schemas.record import Coordinates

LABEL = Label(
    stream="requests",
    source="shop",
    id="1",
    label="normal",
    labelled_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)


def test_encoding_is_compact_json() -> None:
    """No spaces, fields in the contract's order, times in RFC 3339."""
    assert encode(LABEL) == (
        b'{"stream":"requests","source":"shop","id":"1","label":"normal",'
        b'"labelled_at":"2026-01-02T03:04:05Z","by":""}'
    )


def test_bytes_travel_as_base64() -> None:
    """A dead letter's original survives although it is no text."""
    assert encode({"original": b"\xff\x00"}) == b'{"original":"' + base64.b64encode(b"\xff\x00") + b'"}'


@pytest.mark.parametrize("record", CONTRACTS.values(), ids=lambda record: type(record).__name__)
def test_examples_survive_a_round_trip(record: msgspec.Struct) -> None:
    """The catalog's example of every contract can be written and read."""
    assert decode(encode(record), type(record)) == record


@given(st.integers(-12 * 60, 14 * 60), st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)))  # noqa: DTZ001 - Hypothesis wants naive bounds
def test_a_moment_is_the_same_moment_in_any_zone(minutes: int, at: datetime) -> None:
    """An offset changes how a time is written, never when it was."""
    zoned = at.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    label = msgspec.structs.replace(LABEL, labelled_at=zoned)
    assert decode(encode(label), Label).labelled_at == zoned


def test_decoders_are_shared() -> None:
    """A contract's decoder is built once."""
    assert decoder(Label) is decoder(Label)
    assert id(decoder(Label)) != id(decoder(Prediction))


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (b'{"topic":"t","partition":"0","offset":1}', "partition"),
        (b'{"topic":"t","partition":0}', ""),
        (b"[]", ""),
        (b"null", ""),
    ],
)
def test_a_wrong_type_is_rejected_with_its_field(payload: bytes, field: str) -> None:
    """The rejection names the field at fault, or the whole record."""
    with pytest.raises(Rejected) as caught:
        decode(payload, Coordinates)
    assert (caught.value.reason, caught.value.field) == (Reason.WRONG_TYPE, field)


def test_a_nested_field_is_named_by_its_path() -> None:
    """A fault inside an array inside a record can be found from the message alone."""
    with pytest.raises(Rejected) as caught:
        decode(b'{"readings":[{"value":1.0},{"value":"high"}]}', Batch)
    assert caught.value.field == "readings[1].value"


@pytest.mark.parametrize(
    "payload", [b"", b"{", b'{"topic":"t","partition":0,"offset":1}}', b"\xff\xfe", b'{"topic":"\xff"}']
)
def test_malformed_json_is_rejected(payload: bytes) -> None:
    """Truncated, doubled and undecodable text all have one reason."""
    with pytest.raises(Rejected) as caught:
        decode(payload, Coordinates)
    assert caught.value.reason is Reason.MALFORMED_JSON


@given(st.binary(max_size=60))
def test_arbitrary_bytes_never_do_worse_than_reject(payload: bytes) -> None:
    """Whatever arrives, the answer is a record or a rejection."""
    with contextlib.suppress(Rejected):  # the other answer that is right
        assert isinstance(decode(payload, Label), Label)


class Reading(msgspec.Struct):
    """A part of a nested record."""

    value: float


class Batch(msgspec.Struct):
    """A nested record."""

    readings: list[Reading]
