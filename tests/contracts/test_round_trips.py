"""Every contract: what is written can be read again, and is what the published schema promises."""

import json
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.codec import decode, encode
from schemas.errors import Reason, Rejected
from schemas.jsonschemas import file_stem
from schemas.publish import CATALOG
from schemas.topics import TOPICS
from tests.contracts.strategies import CONTRACTS, instances

EXAMPLES = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def published(contract: type[msgspec.Struct]) -> Draft202012Validator:
    """Return a validator over the schema that lies in the catalog."""
    schema = json.loads((CATALOG / f"{file_stem(contract)}.schema.json").read_text())
    return Draft202012Validator(schema)


def test_every_topic_contract_is_covered() -> None:
    """A contract added to the topics is tested here as well."""
    assert {topic.contract for topic in TOPICS if topic.contract} <= set(CONTRACTS)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
@EXAMPLES
@given(data=st.data())
def test_encoded_then_decoded_is_equal(contract: type[msgspec.Struct], data: st.DataObject) -> None:
    """No field is lost or changed by a way through JSON."""
    record = data.draw(instances(contract))
    assert decode(encode(record), contract) == record


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
@EXAMPLES
@given(data=st.data())
def test_encoded_record_satisfies_its_published_schema(
    contract: type[msgspec.Struct], data: st.DataObject
) -> None:
    """What Headrace writes is what its catalog says."""
    payload = json.loads(encode(data.draw(instances(contract))))
    published(contract).validate(payload)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
@EXAMPLES
@given(data=st.data())
def test_an_unknown_field_is_refused(contract: type[msgspec.Struct], data: st.DataObject) -> None:
    """Both the codec and the published schema refuse a field that the contract does not have."""
    payload = json.loads(encode(data.draw(instances(contract))))
    payload["surprise"] = 1
    assert not published(contract).is_valid(payload)
    with pytest.raises(Rejected, match="surprise") as caught:
        decode(json.dumps(payload).encode(), contract)
    assert caught.value.reason is Reason.WRONG_TYPE


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
@EXAMPLES
@given(data=st.data())
def test_a_missing_required_field_is_refused(contract: type[msgspec.Struct], data: st.DataObject) -> None:
    """Both the codec and the published schema ask for every field that has no default."""
    payload: dict[str, Any] = json.loads(encode(data.draw(instances(contract))))
    required = published(contract).schema["required"]
    del payload[data.draw(st.sampled_from(required))]
    assert not published(contract).is_valid(payload)
    with pytest.raises(Rejected):
        decode(json.dumps(payload).encode(), contract)
