"""`headrace.toml` as a contract: defaults, durations, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.config import Headrace, Stream
from schemas.drift import Response
from schemas.record import Kind
from schemas.response import always
from schemas.section import duration_s


def test_a_kind_alone_is_a_whole_stream() -> None:
    """Everything but the kind has a default."""
    stream = Headrace.model_validate({"streams": {"logs": {"kind": "log"}}}).streams["logs"]
    assert stream == Stream(kind=Kind.LOG)
    assert stream.model is None
    assert stream.dedupe.window == 7 * 86400
    assert stream.drift.on_error == always(Response.INCREMENT)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("90s", 90), ("5m", 300), ("1.5h", 5400), ("7d", 604800), (" 2 h ", 7200), (12, 12)],
)
def test_durations_are_read_as_seconds(text: str | float, seconds: float) -> None:
    """A number with a unit, or seconds as they are."""
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "7 weeks", "-5s", "1h30m"])
def test_another_text_is_no_duration(text: str) -> None:
    """The message shows how a duration is written."""
    with pytest.raises(ValueError, match="such as '7d'"):
        duration_s(text)


@given(st.integers(1, 10**6), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_duration_scales_with_its_number(number: int, unit: str) -> None:
    """Twice the number is twice as long, whatever the unit."""
    assert duration_s(f"{2 * number}{unit}") == pytest.approx(2 * duration_s(f"{number}{unit}"))


@pytest.mark.parametrize(
    ("section", "at"),
    [
        ({"kind": "log", "windw": 1}, "windw"),
        ({"kind": "log", "dedupe": {"window": "31d"}}, "dedupe.window"),
        ({"kind": "log", "dedupe": {"window": 0}}, "dedupe.window"),
        ({"kind": "log", "model": {"max_tokens": 4}}, "model.max_tokens"),
        ({"kind": "log", "drift": {"error": {"delta": 1.0}}}, "drift.error.delta"),
        ({"kind": "log", "drift": {"on_error": "retry"}}, "drift.on_error.warning"),
        ({"kind": "log", "drift": {"on_error": {"severe": "retrain"}}}, "drift.on_error.severe"),
        ({"kind": "log", "gate": {"min_agreement": 1.1}}, "gate.min_agreement"),
        ({"kind": "sensor", "clean": {"ranges": {"cpu": [0]}}}, "clean.ranges.cpu.1"),
    ],
)
def test_a_wrong_value_is_refused_at_its_place(section: dict[str, object], at: str) -> None:
    """The error's location is the path a user would look for in the file."""
    with pytest.raises(ValidationError) as caught:
        Headrace.model_validate({"streams": {"a": section}})
    path = ".".join(str(part) for part in caught.value.errors()[0]["loc"])
    assert path == f"streams.a.{at}"


@pytest.mark.parametrize("name", ["a b", "ä", "x" * 81, "a/b"])
def test_a_topic_prefix_must_suit_kafka(name: str) -> None:
    """A prefix that Kafka would refuse is refused before anything starts."""
    with pytest.raises(ValidationError):
        Headrace(streams={}, topic_prefix=name)


@pytest.mark.parametrize("name", ["", "1db", "a-b", "a`; DROP DATABASE x", "a.b"])
def test_a_database_name_can_carry_no_sql(name: str) -> None:
    """The one identifier that reaches SQL unbound is letters, digits and underscores."""
    with pytest.raises(ValidationError):
        Headrace(streams={}, database=name)


def test_settings_cannot_be_changed_afterwards() -> None:
    """Every part sees the same configuration for its whole life."""
    config = Headrace(streams={})
    with pytest.raises(ValidationError, match="frozen"):
        config.database = "other"  # type: ignore[misc]  # that it is read-only is the point


def test_secrets_are_hidden_in_text() -> None:
    """Printing the configuration gives no password away."""
    config = Headrace.model_validate(
        {
            "streams": {},
            "services": {"clickhouse": "http://u:hunter2@h"},
            "alerts": {"webhook": {"url": "https://x/hunter2"}},
        }
    )
    assert "hunter2" not in repr(config)
    assert "hunter2" not in str(config)
    assert "hunter2" not in config.model_dump_json()


def test_streams_of_one_model_have_one_priority() -> None:
    """Its versions are told apart by offsets, so its answers have one order; the error names both streams."""
    shared = {"kind": "log", "model": {"name": "m", "priority": "high"}}
    assert Headrace.model_validate({"streams": {"a": shared, "b": shared}}).streams["a"].model
    with pytest.raises(ValidationError, match="'a' and 'b' share model 'm'"):
        Headrace.model_validate({"streams": {"a": shared, "b": {"kind": "log", "model": {"name": "m"}}}})
