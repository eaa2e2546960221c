"""The gateway's description at `/openapi.json`: consumes the contracts, produces an OpenAPI document."""

from typing import Any, Final

import msgspec
from fastapi import FastAPI

from schemas.label import Label
from schemas.prediction import Prediction
from serving.gateway.bindings import BATCH, NDJSON, STRUCTURED
from serving.gateway.inference.openapi import paths as inference_paths
from serving.gateway.scopes import SCOPES

_PROBLEM: Final = {
    "description": "refused; the problem names reason and field",
    "content": {"application/problem+json": {}},
}
_ACCEPTED_OR_NOT: Final = {"202": {"description": "accepted"}, "4XX": _PROBLEM, "503": _PROBLEM}
_LOGINS: Final = {
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "an API key, or a JSON Web Token"},
}


def describe(app: FastAPI) -> None:
    """Make the application answer `/openapi.json` with this description."""
    document = _document(app.title, app.version)
    app.openapi = lambda: document  # type: ignore[method-assign]  # FastAPI's own way to replace it


def _document(title: str, version: str) -> dict[str, Any]:
    (label, prediction), components = msgspec.json.schema_components(
        (Label, Prediction), ref_template="#/components/schemas/{name}"
    )
    inference, schemas = inference_paths()
    paths = {
        "/v1/events": {"post": _events()},
        "/v1/labels": {"post": _labels(label)},
        "/v1/predictions": {"get": _predictions(prediction)},
        "/v1/predictions/stream": {"get": _stream()},
        "/livez": {"get": _probe("Whether the gateway runs")},
        "/readyz": {"get": _probe("Whether Kafka, Redis and ClickHouse answer it")},
        "/metrics": {"get": _probe("Prometheus metrics")},
        **inference,
    }
    for path, operations in paths.items():
        for operation in operations.values():
            operation["security"] = _security(path)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {"schemas": components | schemas, "securitySchemes": _LOGINS},
    }


def _security(path: str) -> list[dict[str, list[str]]]:
    """Say what a route asks for, where the gateway asks at all; nothing of the probes."""
    scope = SCOPES[path]
    return [] if scope is None else [{login: [scope.value]} for login in _LOGINS]


def _events() -> dict[str, Any]:
    event = {"type": "object", "description": "a CloudEvents 1.0 event"}
    bodies = {
        STRUCTURED: event,
        BATCH: {"type": "array", "items": event},
        NDJSON: {"type": "string"},
        "application/json": {"type": "object", "description": "the data; its attributes in ce-* headers"},
    }
    return {
        "summary": "Publish one CloudEvent or many; 202 after Kafka acknowledged",
        "requestBody": _body(bodies),
        "responses": _ACCEPTED_OR_NOT,
    }


def _labels(label: dict[str, Any]) -> dict[str, Any]:
    one_or_many = {"anyOf": [label, {"type": "array", "items": label}]}
    return {
        "summary": "Say what events really were, one label or a list",
        "requestBody": _body({"application/json": one_or_many}),
        "responses": _ACCEPTED_OR_NOT,
    }


def _predictions(prediction: dict[str, Any]) -> dict[str, Any]:
    text = {"type": "string"}
    found = {"description": "the prediction", "content": {"application/json": {"schema": prediction}}}
    return {
        "summary": "The newest answer for one event",
        "parameters": [
            {"name": name, "in": "query", "required": True, "schema": text} for name in ("source", "id")
        ],
        "responses": {"200": found, "4XX": _PROBLEM, "503": _PROBLEM},
    }


def _stream() -> dict[str, Any]:
    text = {"type": "string"}
    named = [{"name": name, "in": "query", "schema": text} for name in ("stream", "source")]
    last = {"name": "last-event-id", "in": "header", "schema": text, "description": "go on from there"}
    return {
        "summary": "Follow the predictions as server-sent events, each with the id to go on from",
        "parameters": [*named, last],
        "responses": {
            "200": {"description": "predictions", "content": {"text/event-stream": {"schema": text}}},
            "4XX": _PROBLEM,
            "503": _PROBLEM,
        },
    }


def _probe(summary: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": "yes"}}}


def _body(schemas: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {media: {"schema": schema} for media, schema in schemas.items()}}
