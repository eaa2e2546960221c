"""The protocol's gRPC service on a loopback port: calls in, the engine that REST asks too, messages out."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import msgspec

from infra.runtime import metrics
from infra.runtime.log import get_logger
from schemas.errors import Fatal
from serving.gateway.core import Gateway
from serving.gateway.edge import request_id_of
from serving.gateway.identity import UNKNOWN, Identity
from serving.gateway.inference import grpc_wire
from serving.gateway.inference.describe import EXTENSIONS, NAME, READY, UNAVAILABLE, VERSION, metadata
from serving.gateway.inference.engine import Inference
from serving.gateway.inference.generated import open_inference_pb2 as messages
from serving.gateway.inference.metadata import headers_of, network_of
from serving.gateway.problems import Refused
from serving.gateway.scopes import Scope
from serving.gateway.shield import Shield
from serving.gateway.tls import Certificate

SERVICE: Final = "inference.GRPCInferenceService"
USUAL_PORT: Final = 8081
_LOOPBACK: Final = "127.0.0.1"
_MAX_CALLS: Final = 256
_GRACE_S: Final = 10.0
_CODES: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
_AT_THE_DOOR: Final = frozenset({401, 403, 429})
"""Refusals whose text goes into the audit: others may quote what was sent."""
_log = get_logger(__name__)

Call = Callable[[Any], Awaitable[Any]]


@asynccontextmanager
async def listening(
    gateway: Gateway, record: Path, certificate: Certificate | None = None
) -> AsyncIterator[str]:
    """Serve the protocol while the block runs; yield the address, `127.0.0.1:port`.

    The port is HEADRACE_GATEWAY_GRPC_PORT (0: any free one); without it the last one of `record`, 8081 or any
    free one.

    Raises:
        Fatal: the port that was asked for is taken, or is no port.
    """
    server = grpc.aio.server(
        maximum_concurrent_rpcs=_MAX_CALLS,
        options=[
            ("grpc.so_reuseport", 0),  # a port that another gateway has is taken
            ("grpc.max_receive_message_length", gateway.limits.max_body_bytes),
        ],
    )
    server.add_generic_rpc_handlers((Service(gateway.inference, gateway.shield).handlers(),))
    port = _bind(server, record, certificate)
    await server.start()
    address = f"{_LOOPBACK}:{port}"
    _log.info("gateway.grpc_started", address=address)
    try:
        yield address
    finally:
        await server.stop(_GRACE_S)


class Service:
    """`inference.GRPCInferenceService`: one method for each of the protocol's calls."""

    def __init__(self, inference: Inference, shield: Shield) -> None:
        self._inference = inference
        self._shield = shield

    def handlers(self) -> grpc.GenericRpcHandler:
        """Return the calls by name, as a server takes them."""
        calls: Mapping[str, tuple[Call, Any]] = {
            "ServerLive": (self.server_live, messages.ServerLiveRequest),
            "ServerReady": (self.server_ready, messages.ServerReadyRequest),
            "ServerMetadata": (self.server_metadata, messages.ServerMetadataRequest),
            "ModelReady": (self.model_ready, messages.ModelReadyRequest),
            "ModelMetadata": (self.model_metadata, messages.ModelMetadataRequest),
            "ModelInfer": (self.model_infer, messages.ModelInferRequest),
            "RepositoryIndex": (self.repository_index, messages.RepositoryIndexRequest),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    self._guarded(name, call),
                    request_deserializer=request.FromString,
                    response_serializer=_serialized,
                )
                for name, (call, request) in calls.items()
            },
        )

    def _guarded(self, name: str, call: Call) -> Callable[[Any, Any], Awaitable[Any]]:
        """Let in who may call; answer refusals with the protocol's status; keep faults to the log."""
        needed = Scope.PREDICT if name == "ModelInfer" else Scope.READ

        async def guarded(request: Any, context: Any) -> Any:
            began = time.perf_counter()
            status, detail, response, caller = 200, "", None, UNKNOWN
            try:
                caller = await self._shield.door.known(headers_of(context), network_of(context))
                await self._shield.door.let_in(caller, needed)
                response = await call(request)
            except Refused as error:
                status, detail = error.status, error.detail
                _log.info("call.refused", call=name, status=status)
            except Exception:  # noqa: BLE001  # a caller gets an answer, whatever broke
                status, detail = 500, "something unexpected happened"
                _log.exception("call.failed", call=name)
            metrics.observe_request(f"/{SERVICE}/{name}", "POST", status, time.perf_counter() - began)
            if response is None:
                self._note(context, name, caller, status, detail)
                await context.abort(_CODES.get(status, grpc.StatusCode.INTERNAL), detail)
            return response

        return guarded

    def _note(self, context: Any, name: str, caller: Identity, status: int, detail: str) -> None:
        """Put a refused or failed call into the audit."""
        self._shield.trail.refused(
            caller.audited,
            f"gRPC {name}",
            status=status,
            request_id=request_id_of(headers_of(context)),
            address=network_of(context),
            detail=detail if status in _AT_THE_DOOR else "",
        )

    async def server_live(self, _: messages.ServerLiveRequest) -> messages.ServerLiveResponse:
        return messages.ServerLiveResponse(live=True)

    async def server_ready(self, _: messages.ServerReadyRequest) -> messages.ServerReadyResponse:
        return messages.ServerReadyResponse(ready=self._inference.ready)

    async def server_metadata(self, _: messages.ServerMetadataRequest) -> messages.ServerMetadataResponse:
        return messages.ServerMetadataResponse(name=NAME, version=VERSION, extensions=EXTENSIONS)

    async def model_ready(self, request: messages.ModelReadyRequest) -> messages.ModelReadyResponse:
        try:
            await self._inference.served(request.name, request.version)
        except Refused:
            return messages.ModelReadyResponse(ready=False)
        return messages.ModelReadyResponse(ready=True)

    async def model_metadata(self, request: messages.ModelMetadataRequest) -> messages.ModelMetadataResponse:
        found = metadata(await self._inference.served(request.name, request.version))
        tensor = messages.ModelMetadataResponse.TensorMetadata
        return messages.ModelMetadataResponse(
            name=found.name,
            versions=found.versions,
            platform=found.platform,
            inputs=[tensor(**one) for one in found.inputs],
            outputs=[tensor(**one) for one in found.outputs],
        )

    async def model_infer(self, request: messages.ModelInferRequest) -> messages.ModelInferResponse:
        inputs = grpc_wire.read(request)
        answered = await self._inference.infer(request.model_name, request.model_version, inputs)
        return grpc_wire.write(request, answered)

    async def repository_index(
        self, request: messages.RepositoryIndexRequest
    ) -> messages.RepositoryIndexResponse:
        index = messages.RepositoryIndexResponse()
        for entry in await self._inference.index():
            if entry.served:
                index.models.add(name=entry.name, version=str(entry.served.release.version), state=READY)
            elif not request.ready:
                index.models.add(name=entry.name, state=UNAVAILABLE, reason=entry.reason)
        return index


def _serialized(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded


def _bind(server: Any, record: Path, certificate: Certificate | None) -> int:
    asked = os.environ.get("HEADRACE_GATEWAY_GRPC_PORT", "").strip()
    if asked and not (asked.isascii() and asked.isdecimal() and int(asked) < 65536):
        raise Fatal(f"HEADRACE_GATEWAY_GRPC_PORT is {asked!r}; give a port from 0 (any free one) to 65535")
    for candidate in [int(asked)] if asked else [_last_port(record), USUAL_PORT, 0]:
        if candidate is None:
            continue
        try:
            address = f"{_LOOPBACK}:{candidate}"
            if certificate is None:
                port: int = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, certificate.grpc_credentials())
        except RuntimeError:
            continue
        return port
    raise Fatal(
        f"port {asked} is taken; set HEADRACE_GATEWAY_GRPC_PORT to another one, or 0 for any free one"
    )


def _last_port(record: Path) -> int | None:
    """Return the port of a gateway that was killed here, so that its clients find the next one."""
    try:
        address: str = msgspec.json.decode(record.read_bytes())["grpc"]
        return int(address.rpartition(":")[2])
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None
