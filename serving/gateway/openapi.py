"""The gateway's description at `/openapi.json`: consumes the contracts, produces an OpenAPI document."""

from typing import Any

import msgspec
from fastapi import FastAPI

from schemas.label import Label
from schemas.prediction import Prediction
from serving.gateway.bindings import BATCH, NDJSON, STRUCTURED


def describe(app: FastAPI) -> None:
    """Make the application answer `/openapi.json` with this description."""
    document = _document(app.title, app.version)
    app.openapi = lambda: document  # type: ignore[method-assign]  # FastAPI's own way to replace it


def _document(title: str, version: str) -> dict[str, Any]:
    (label, prediction), components = msgspec.json.schema_components(
        (Label, Prediction), ref_template="#/components/schemas/{name}"
    )
    problem = {
        "description": "refused; the problem names reason and field",
        "content": {"application/problem+json": {}},
    }
    event = {"type": "object", "description": "a CloudEvents 1.0 event"}
    identity = [
        {"name": name, "in": "query", "required": True, "schema": {"type": "string"}}
        for name in ("source", "id")
    ]
    paths = {
        "/v1/events": {
            "post": {
                "summary": "Publish one CloudEvent or many; 202 after Kafka acknowledged",
                "requestBody": {
                    "required": True,
                    "content": {
                        STRUCTURED: {"schema": event},
                        BATCH: {"schema": {"type": "array", "items": event}},
                        NDJSON: {"schema": {"type": "string"}},
                        "application/json": {"schema": {"type": "object"}},
                    },
                },
                "responses": {"202": {"description": "accepted"}, "4XX": problem, "503": problem},
            }
        },
        "/v1/labels": {
            "post": {
                "summary": "Say what events really were, one label or a list",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"anyOf": [label, {"type": "array", "items": label}]}}
                    },
                },
                "responses": {"202": {"description": "accepted"}, "4XX": problem, "503": problem},
            }
        },
        "/v1/predictions": {
            "get": {
                "summary": "The newest answer for one event",
                "parameters": identity,
                "responses": {
                    "200": {
                        "description": "the prediction",
                        "content": {"application/json": {"schema": prediction}},
                    },
                    "404": problem,
                },
            }
        },
    }
    for path, summary in (
        ("/livez", "Whether the gateway runs"),
        ("/readyz", "Whether Kafka, Redis and ClickHouse answer it"),
        ("/metrics", "Prometheus metrics"),
    ):
        paths[path] = {"get": {"summary": summary, "responses": {"200": {"description": "yes"}}}}
    info = {"title": title, "version": version}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": components}}
