"""The description at `/openapi.json` is of the routes there are."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema
from fastapi import FastAPI
from starlette.routing import Route

from serving.gateway.inference.describe import metadata
from serving.gateway.inference.engine import Answered
from serving.gateway.inference.json_wire import read, write
from serving.gateway.inference.rest import add_routes
from serving.gateway.openapi import describe
from serving.gateway.problems import answer
from serving.predictor import Answer
from serving.slot import Limits, load
from tests.unit.serving.releases import lay_out, tiny_text


def described() -> FastAPI:
    """An application with the protocol's routes and the gateway's description."""
    app = FastAPI(title="t", version="1")
    add_routes(app)
    describe(app)
    return app


def test_every_route_is_described_and_nothing_else():
    """Paths and methods of the protocol are just those that are registered."""
    app = described()
    routes = {
        (route.path, method.lower())
        for route in app.routes
        if isinstance(route, Route) and route.path.startswith("/v2")
        for method in (route.methods or set()) - {"HEAD"}
    }
    paths = {path: item for path, item in app.openapi()["paths"].items() if path.startswith("/v2")}
    assert {(path, name) for path, item in paths.items() for name in item} == routes
    for path, item in paths.items():
        (operation,) = item.values()
        named = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}


def test_requests_and_answers_keep_to_their_schemas(tmp_path: Path, pool: ThreadPoolExecutor):
    """A real request, its answer, binary or not, and a model's metadata are valid by the description."""
    document = described().openapi()
    components = {"components": document["components"]}
    served = load(lay_out(tmp_path, tiny_text(1), model="requests", version=4), pool, Limits())
    infer = document["paths"]["/v2/models/{name}/infer"]["post"]
    given = {"id": "1", "inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}
    request_schema = infer["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.validate(given, {**request_schema, **components})
    answer_schema = infer["responses"]["200"]["content"]["application/json"]["schema"]
    for binary in (False, True):
        asked = {**given, "parameters": {"binary_data_output": binary}}
        content, length = write(
            read(json.dumps(asked).encode(), None).body, Answered(served, [Answer("a", 1.0)])
        )
        jsonschema.validate(json.loads(content[:length]), {**answer_schema, **components})
    model = document["paths"]["/v2/models/{name}"]["get"]["responses"]["200"]
    schema = model["content"]["application/json"]["schema"]
    jsonschema.validate(json.loads(bytes(answer(metadata(served)).body)), {**schema, **components})
