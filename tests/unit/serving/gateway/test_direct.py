"""The short way to the handlers: the same answers as by FastAPI, and everything else by FastAPI."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from infra.bench.gateway.inside import STREAMS, Memory, ask, gateway_over
from serving.gateway.app import application
from serving.gateway.edge import Edge


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Edge]:
    """An open gateway's application."""
    async with gateway_over(Memory(), tmp_path, STREAMS) as gateway:
        yield application(gateway)


@pytest.mark.parametrize("path", ["/v1/events", "/v1/labels", "/v2/models/nope/infer"])
async def test_other_methods_are_answered_by_fastapi(app: Edge, path: str):
    """405 with what is allowed, where only POST is."""
    answer = await ask(app, "GET", path)
    assert answer.status == 405
    assert answer.headers[b"allow"] == b"POST"


async def test_a_refusal_says_what_it_says_by_fastapi(app: Edge):
    """A problem document with the request's id; in the Open Inference Protocol's form under /v2."""
    problem = await ask(app, "POST", "/v1/events", [(b"content-type", b"text/plain")], [b"x"])
    told = json.loads(problem.body)
    assert problem.status == told["status"] == 415
    assert told["request_id"] == problem.headers[b"x-request-id"].decode()
    inference = await ask(app, "POST", "/v2/models/a%2Fb/versions/7/infer", (), [b'{"inputs":[]}'])
    assert inference.status == 400
    assert "inputs" in json.loads(inference.body)["error"]


async def test_what_is_no_route_is_not_found(app: Edge):
    """A path that only begins as a route does, or goes on behind it, is none."""
    for path in ("/v1/events/", "/v1/eventsx", "/v2/models//infer", "/v2/models/a/b/infer"):
        assert (await ask(app, "POST", path)).status == 404, path
