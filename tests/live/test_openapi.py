"""The gateway's OpenAPI document against the gateway: schemathesis asks what it allows, and what not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from infra.runtime.kafka.admin import create_topics
from infra.runtime.settings import Endpoints
from tests.live.test_inference_protocol import released
from tests.running import JUDGED, gateway, settings_of

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

_EXAMPLES: Final = 8
_ENDLESS: Final = "/v1/predictions/stream"
_CHECKS: Final = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
_TEXT: Final = {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["GET /"]}]}


@pytest.fixture
async def url(stack: Endpoints, unique: str, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a gateway with two models."""
    made = settings_of(stack, unique, tmp_path, JUDGED)
    await create_topics(made)
    await released(made)
    async with gateway(made) as record:
        yield record["url"]


async def test_the_document_is_true(url: str) -> None:
    """Every answer has a status, media type and form that the document names; no question breaks anything."""
    assert await asyncio.to_thread(_ask_everything, url) > 100
    await asyncio.to_thread(_ask_what_is_served, url)


def _ask_everything(url: str) -> int:
    """Send examples of every operation, right and wrong, and check each answer; return how many were sent.

    A valid example may be refused: contracts and models judge more than a schema can say. A dependency may
    be away (503), the gateway must not fail.
    """
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json").exclude(path=_ENDLESS)
    sent = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        for mode in schemathesis.GenerationMode:
            if mode is schemathesis.GenerationMode.NEGATIVE and not (operation.query or operation.body):
                continue  # a path takes any text, so none is wrong

            @given(case=operation.as_strategy(mode))
            @examples(
                max_examples=_EXAMPLES,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            def ask(case: Any) -> None:
                nonlocal sent
                sent += 1
                response = case.call(base_url=url)
                expected = [*_CHECKS, *([] if response.status_code == 503 else [not_a_server_error])]
                case.validate_response(response, checks=expected)

            ask()
    return sent


def _ask_what_is_served(url: str) -> None:
    """Send requests that succeed, which examples that are drawn blindly never name."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    model = "/v2/models/{name}"
    asked: list[tuple[str, str, dict[str, Any], Any]] = [
        (model, "GET", {"name": "host"}, NOT_SET),
        (f"{model}/versions/{{version}}", "GET", {"name": "host", "version": "3"}, NOT_SET),
        (f"{model}/ready", "GET", {"name": "host"}, NOT_SET),
        (f"{model}/infer", "POST", {"name": "requests"}, _TEXT),
    ]
    for path, method, named, body in asked:
        media = None if body is NOT_SET else "application/json"
        case = schema[path][method].Case(path_parameters=named, body=body, media_type=media)
        response = case.call(base_url=url)
        assert response.status_code == 200, (path, response.text)
        case.validate_response(response, checks=_CHECKS)
