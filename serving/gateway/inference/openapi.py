"""What `/openapi.json` says of the protocol's routes: consumes their contracts, produces OpenAPI paths."""

from typing import Any, Final

import msgspec

from serving.gateway.inference.describe import ModelMetadata
from serving.gateway.inference.json_wire import HEADER, Body

_ERROR: Final = {
    "description": "refused; the message says why",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {"error": {"type": "string"}},
            }
        }
    },
}
_NOT_LET_IN: Final = {
    "description": "not let in: no valid key, not its scope, or beyond a limit",
    "content": {"application/problem+json": {}},
}
_RETRY: Final = {**_ERROR, "headers": {"retry-after": {"schema": {"type": "integer"}}}}
_TEXT: Final = {"type": "string"}
_FLAG: Final = {"type": "boolean"}
_LENGTH: Final = {"schema": {"type": "integer"}, "description": "bytes of JSON before binary data"}
_OUTPUT: Final = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"enum": ["label", "score"]},
        "datatype": {"enum": ["BYTES", "FP64"]},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"type": "array", "items": {"type": ["string", "number"]}},
        "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer"}}},
    },
}


def paths() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the protocol's paths, and the schemas that they refer to."""
    (body, model), schemas = msgspec.json.schema_components(
        (Body, ModelMetadata), ref_template="#/components/schemas/{name}"
    )
    found: dict[str, Any] = {
        "/v2": {"get": _get("The server's name, version and extensions", _server())},
        "/v2/health/live": {"get": _get("Whether the gateway runs", _object(live=_FLAG))},
        "/v2/health/ready": {
            "get": {
                "summary": "Whether an inference would be answered; a probe loads no model",
                "responses": {
                    "200": _json("ready", _object(ready=_FLAG)),
                    "503": _json("not ready", _object(ready=_FLAG)),
                },
            }
        },
        "/v2/repository/index": {"post": _index()},
    }
    for parameters in (["name"], ["name", "version"]):
        path = "/v2/models/{name}" + ("/versions/{version}" if "version" in parameters else "")
        named = [_in_path(name) for name in parameters]
        found[path] = {"get": {**_get("What a model takes and gives", model), "parameters": named}}
        ready = _get("Whether a model serves", _object(name=_TEXT, ready=_FLAG))
        found[f"{path}/ready"] = {"get": {**ready, "parameters": named}}
        found[f"{path}/infer"] = {"post": _infer(body, named)}
    return found, schemas


def _infer(body: dict[str, Any], named: list[dict[str, Any]]) -> dict[str, Any]:
    binary = {"type": "string", "format": "binary", "description": "JSON, then the tensors' bytes"}
    answer = _object(
        ("model_name", "model_version", "parameters", "outputs"),
        model_name=_TEXT,
        model_version=_TEXT,
        id=_TEXT,
        parameters=_object(("sha256",), sha256=_TEXT, tolerance={"type": "number"}),
        outputs={"type": "array", "items": _OUTPUT},
    )
    return {
        "summary": "Ask a model: `text` BYTES [N] of cleaned, masked texts, or `values` FP32 or FP64 [N, F]",
        "parameters": [*named, {"name": HEADER, "in": "header", **_LENGTH}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": body},
                "application/octet-stream": {"schema": binary},
            },
        },
        "responses": {
            "200": {
                "description": "one label and score a row, and the release that gave them",
                "headers": {HEADER: _LENGTH},
                "content": {
                    "application/json": {"schema": answer},
                    "application/octet-stream": {"schema": binary},
                },
            },
            **_refusals("400", "404", "408", "413", "415"),
        },
    }


def _index() -> dict[str, Any]:
    entry = _object(name=_TEXT, version=_TEXT, state={"enum": ["READY", "UNAVAILABLE"]}, reason=_TEXT)
    return {
        "summary": "Every model that headrace.toml names, and which version serves",
        "requestBody": {"content": {"application/json": {"schema": _object((), ready=_FLAG)}}},
        "responses": {
            "200": _json("the models", {"type": "array", "items": entry}),
            **_refusals("400", "408", "413", "415"),
        },
    }


def _get(summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": _json("the answer", schema), **_refusals("404")}}


def _refusals(*statuses: str) -> dict[str, Any]:
    return {**dict.fromkeys(statuses, _ERROR), "503": _RETRY, "4XX": _NOT_LET_IN}


def _server() -> dict[str, Any]:
    return _object(name=_TEXT, version=_TEXT, extensions={"type": "array", "items": _TEXT})


def _object(required: tuple[str, ...] | None = None, **properties: Any) -> dict[str, Any]:
    wanted = list(properties) if required is None else list(required)
    return {"type": "object", "required": wanted, "properties": properties}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": _TEXT}
