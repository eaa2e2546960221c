"""What follows a drift: one word for all, a table by severity, and the same after a round through JSON."""

import pytest
from jsonschema import Draft202012Validator, ValidationError

from schemas.config import Drift, Stream
from schemas.drift import Response, Severity
from schemas.jsonschemas import config_schema
from schemas.response import always


def test_one_word_is_for_every_severity() -> None:
    """`on_input = "retrain"` says the same of a warning and of what is critical."""
    drift = Drift.model_validate({"on_input": "retrain"})
    assert [drift.on_input.to(severity) for severity in Severity] == [Response.RETRAIN] * 2


def test_a_table_says_it_for_each() -> None:
    """What is left out of it is an alert alone."""
    both = Drift.model_validate({"on_error": {"warning": "increment", "critical": "retrain"}}).on_error
    assert both.to(Severity.WARNING) is Response.INCREMENT
    assert both.to(Severity.CRITICAL) is Response.RETRAIN
    one = Drift.model_validate({"on_error": {"critical": "retrain"}}).on_error
    assert one.to(Severity.WARNING) is Response.ALERT
    assert Drift().on_error == always(Response.INCREMENT)


def test_the_trainer_reads_what_was_configured() -> None:
    """A job carries the stream's configuration as JSON; nothing is lost on the way."""
    stream = Stream.model_validate({"kind": "api", "drift": {"on_error": {"critical": "retrain"}}})
    assert Stream.model_validate_json(stream.model_dump_json()) == stream


@pytest.mark.parametrize("value", ["retrain", {"critical": "retrain"}])
def test_editors_accept_both_forms(value: object) -> None:
    """The published schema takes a word or a table, and refuses another word."""
    validator = Draft202012Validator(config_schema())
    validator.validate({"streams": {"a": {"kind": "api", "drift": {"on_error": value}}}})
    with pytest.raises(ValidationError):
        validator.validate({"streams": {"a": {"kind": "api", "drift": {"on_error": "retry"}}}})
