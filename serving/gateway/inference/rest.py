"""The protocol's REST routes: HTTP requests in, the inference engine asked, JSON or binary tensors out.

Whatever is refused here is answered as the protocol wants it, `{"error": …}`.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from serving.gateway.core import body_of, gateway_of
from serving.gateway.inference import json_wire
from serving.gateway.inference.describe import EXTENSIONS, NAME, READY, UNAVAILABLE, VERSION, metadata
from serving.gateway.problems import Refused, answer

Handler = Callable[[Request], Awaitable[Response]]

INFER: Final = ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer")
"""The routes of `post_infer`."""

_BINARY: Final = "application/octet-stream"
_INDEX_BYTES: Final = 4096


def add_routes(app: FastAPI) -> None:
    """Register the protocol's routes."""
    app.add_route("/v2", get_server, methods=["GET"])
    app.add_route("/v2/health/live", get_live, methods=["GET"])
    app.add_route("/v2/health/ready", get_ready, methods=["GET"])
    app.add_route("/v2/repository/index", post_index, methods=["POST"])
    for model in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        app.add_route(model, get_model, methods=["GET"])
        app.add_route(f"{model}/ready", get_model_ready, methods=["GET"])
    for path in INFER:
        app.add_route(path, post_infer, methods=["POST"])


def in_protocol(handler: Handler) -> Handler:
    """Make a handler answer refusals as the protocol wants them."""

    @wraps(handler)
    async def handled(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as error:
            response = answer({"error": error.detail}, error.status)
            response.headers.update(error.headers)
            return response

    return handled


@in_protocol
async def get_server(_: Request) -> Response:
    """Answer with the server's metadata."""
    return answer({"name": NAME, "version": VERSION, "extensions": EXTENSIONS})


@in_protocol
async def get_live(_: Request) -> Response:
    """Answer 200 while the process serves."""
    return answer({"live": True})


@in_protocol
async def get_ready(request: Request) -> Response:
    """Answer 200 when an inference would be answered, 503 while models are being loaded or cannot be.

    A probe loads no model: before anybody asked for one, the gateway is ready.
    """
    ready = gateway_of(request).inference.ready
    return answer({"ready": ready}, 200 if ready else 503)


@in_protocol
async def get_model(request: Request) -> Response:
    """Answer with a model's metadata."""
    served = await gateway_of(request).inference.served(*_named(request))
    return answer(metadata(served))


@in_protocol
async def get_model_ready(request: Request) -> Response:
    """Answer 200 when a model serves, 404 or 503 when it does not."""
    name, version = _named(request)
    await gateway_of(request).inference.served(name, version)
    return answer({"name": name, "ready": True})


@in_protocol
async def post_infer(request: Request) -> Response:
    """Answer a request's rows."""
    gateway = gateway_of(request)
    name, version = _named(request)
    body = await body_of(request)
    asked = json_wire.read(body, request.headers.get(json_wire.HEADER))
    answered = await gateway.inference.infer(name, version, asked.inputs)
    content, json_bytes = json_wire.write(asked.body, answered)
    if json_bytes is None:
        return Response(content, media_type="application/json")
    return Response(content, media_type=_BINARY, headers={json_wire.HEADER: str(json_bytes)})


@in_protocol
async def post_index(request: Request) -> Response:
    """Answer with every model that `headrace.toml` names; `{"ready": true}` asks for those that serve."""
    gateway = gateway_of(request)
    body = await body_of(request)
    ready = _only_ready(body)
    return answer(
        [
            {
                "name": entry.name,
                "version": str(entry.served.release.version) if entry.served else "",
                "state": READY if entry.served else UNAVAILABLE,
                "reason": entry.reason,
            }
            for entry in await gateway.inference.index()
            if entry.served or not ready
        ]
    )


def _only_ready(body: bytes) -> bool:
    """Read the index's request, which may be empty."""
    if not body.strip():
        return False
    try:
        asked = msgspec.json.decode(body[:_INDEX_BYTES], type=dict[str, bool | str])
    except msgspec.DecodeError as error:
        raise Refused(400, f"the body is no request for an index: {error}") from error
    return asked.get("ready", False) is True


def _named(request: Request) -> tuple[str, str]:
    return request.path_params["name"], request.path_params.get("version", "")
