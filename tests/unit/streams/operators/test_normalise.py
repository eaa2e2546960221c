"""Cleaning of whole events: every policy of the configuration shows in the event and its flags."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.clean import Clean
from schemas.config import Stream
from schemas.errors import Reason, Rejected
from schemas.raw import ApiRequest, LogLine, Payload, RawEvent, SensorReading
from schemas.record import Kind
from streams.operators.normalise import Normalise

NOW = datetime(2026, 3, 14, 9, 27, tzinfo=UTC)
KINDS: dict[type[Any], Kind] = {ApiRequest: Kind.API, LogLine: Kind.LOG, SensorReading: Kind.SENSOR}


class Record(msgspec.Struct):
    """An incoming record as the operator sees it."""

    topic: str = "events.raw"
    partition: int = 0
    offset: int = 0
    timestamp: int = 1_773_480_413_000
    key: bytes | None = None
    value: bytes | None = b""
    headers: tuple[tuple[str, bytes], ...] = ()


def cleaned(data: Payload, time: str = "2026-03-14T09:26:53Z", repaired: bool = False, **clean: Any) -> Clean:
    """Clean one event of a stream with this configuration."""
    kind = KINDS[type(data)]
    operator = Normalise("s", Stream.model_validate({"kind": kind, "clean": clean}))
    operator.at(NOW)
    event = RawEvent(id="1", source="web", kind=kind, data=data, time=time, repaired=repaired)
    return operator.clean(event, Record())


def test_personal_data_in_text_is_masked_and_flagged():
    """The model's text says of which kind it was; the flag names the field."""
    clean = cleaned(LogLine(message="card 4111 1111 1111 1111 of bob@example.com, password=hunter2"))
    assert clean.text == "card <card> of <email>, password=<secret>"
    assert clean.flags.masked == ("text",)
    assert cleaned(LogLine(message="took 12 ms")).flags.masked == ()


def test_a_second_copy_of_a_text_is_flagged_too():
    """What is answered from memory carries its flag."""
    operator = Normalise("s", Stream(kind=Kind.LOG))
    operator.at(NOW)
    event = RawEvent(id="1", source="w", kind=Kind.LOG, data=LogLine(message="bob@example.com"))
    first, second = operator.clean(event, Record()), operator.clean(event, Record())
    assert first == second
    assert second.flags.masked == ("text",)


def test_a_requests_attributes_are_masked_in_any_encoding():
    """What is percent-encoded in a path is personal all the same."""
    clean = cleaned(ApiRequest(method="GET", path="/u/bob%40example.com", user_agent="x\x00\u202ey"))
    assert clean.attributes == {"method": "GET", "path": "/u/<email>", "user_agent": "xy"}
    assert clean.flags.masked == ("path", "text")
    assert clean.text == "GET /u/<email>"


def test_an_attack_stays_what_it_looks_like():
    """Markup and quotes are kept for the model, unless the stream strips markup."""
    request = ApiRequest(
        method="GET", path="/s", query="q=%3Cscript%3Ealert(1)%3C/script%3E&password=' OR '1'='1"
    )
    assert cleaned(request).text == "GET /s?q=<script>alert(<num>)</script>&password=' OR '<num>'='<num>"
    assert cleaned(LogLine(message="<p>R&amp;D<br>done"), html="strip").text == "R&D done"
    assert cleaned(LogLine(message="<p>R&amp;D"), html="keep").text == "<p>R&amp;D"


def test_repaired_text_is_flagged_or_refused():
    """A stream that has nothing repaired rejects what another stream's policy let through decoding."""
    data = LogLine(message="caf\ufffd")
    assert cleaned(data, repaired=True, utf8="repair").flags.repaired == ("data",)
    with pytest.raises(Rejected) as caught:
        cleaned(data, repaired=True)
    assert caught.value.reason is Reason.INVALID_UTF8


def test_times_by_policy_show_in_the_flags():
    """A clamped time is a repaired one, an accepted old one is late."""
    data = LogLine(message="x")
    clamped = cleaned(data, time="2031-01-01T00:00:00Z", in_future="arrival")
    assert (clamped.flags.repaired, clamped.time) == (("time",), datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC))
    assert cleaned(data, time="1999-01-01T00:00:00Z", too_old="accept").flags.late
    assert cleaned(data, time="Mar 14 09:26:53").time == clamped.time


def test_readings_by_policy_show_in_the_flags():
    """A reading out of its range that is dropped is missing, and imputed as the stream says."""
    clean = cleaned(
        SensorReading(values={"t": "300", "h": 0.5}),
        ranges={"t": [0, 100]},
        out_of_range="drop",
        missing="constant",
        constant=20.0,
    )
    assert clean.values == {"t": 20.0, "h": 0.5}
    assert (clean.flags.repaired, clean.flags.imputed) == (("t",), ("t",))


@given(st.text(max_size=150), st.sampled_from(["keep", "strip"]), st.sampled_from(["nfc", "nfkc", "keep"]))
def test_cleaning_the_models_text_again_changes_nothing(message, html, form):
    """A text that has been cleaned is clean; markup is read once, so it is left out of this."""
    message = message.replace("&", "").replace("<", "") if html == "strip" else message
    once = cleaned(LogLine(message=message), html=html, text=form).text
    assert cleaned(LogLine(message=once), text=form).text == once


@given(
    st.builds(
        ApiRequest,
        method=st.text(max_size=9),
        path=st.text(max_size=40),
        query=st.text(max_size=40),
        user_agent=st.text(max_size=20),
    )
    | st.builds(LogLine, message=st.text(max_size=60), level=st.text(max_size=5), host=st.text(max_size=9))
    | st.builds(
        SensorReading,
        values=st.dictionaries(
            st.text(max_size=4), st.none() | st.floats() | st.text(max_size=9), max_size=4
        ),
    )
)
def test_any_event_is_cleaned_or_rejected(data):
    """Nothing but a rejection is raised, and what is clean can be written as JSON."""
    try:
        clean = cleaned(
            data, mask=["client_ip", "email", "phone", "card", "ip", "iban", "secret"], html="strip"
        )
    except Rejected:
        return
    assert msgspec.json.decode(msgspec.json.encode(clean), type=Clean) == clean
