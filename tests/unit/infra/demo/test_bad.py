from random import Random

import pytest

from infra.demo.bad import WRONG, bad_record, malformed_request
from infra.runtime.settings import DEFAULT_CONFIG, parse
from schemas.errors import Reason, Rejected
from serving.gateway.bindings import Received, events_of
from serving.gateway.judge import Judge

_JUDGE = Judge(parse(DEFAULT_CONFIG, "test").streams)


@pytest.mark.parametrize("number", range(120))
def test_bad_input_is_refused_for_its_reason(number: int) -> None:
    """What is sent as bad is refused by the real contract, with the very reason that is expected."""
    request = malformed_request(Random(number), 0.0, "run", number)
    with pytest.raises(Rejected) as refusal:
        _JUDGE.judge(events_of({"content-type": request.content_type}, request.body, max_events=10).events[0])
    assert refusal.value.reason is request.reason


def test_records_carry_the_same_faults() -> None:
    """Bad records for Kafka are refused by the contract as well."""
    for number in range(60):
        record = bad_record(Random(number), 0.0, "run", number)
        with pytest.raises(Rejected) as refusal:
            _JUDGE.judge(Received(record.value or b"", (("content-type", b"application/cloudevents+json"),)))
        assert refusal.value.reason is record.reason


def test_the_common_faults_are_all_sent() -> None:
    """Malformed JSON, wrong types, unknown kinds and versions, missing ids and the rest are all sent."""
    reasons = {reason for reason, _ in WRONG}
    assert {
        *(Reason.MALFORMED_JSON, Reason.WRONG_TYPE, Reason.UNKNOWN_KIND, Reason.UNKNOWN_VERSION),
        *(Reason.MISSING_ID, Reason.BAD_TIMESTAMP, Reason.INVALID_UTF8, Reason.EMPTY),
    } <= reasons
