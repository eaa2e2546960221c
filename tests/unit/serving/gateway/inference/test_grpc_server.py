"""Who may call by gRPC, over a real channel: the calls go through the gateway's own door."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from infra.bench.gateway.inside import STREAMS, Memory, gateway_over
from schemas import topics
from schemas.errors import Fatal
from serving.gateway import keys
from serving.gateway.inference.generated import open_inference_pb2 as messages
from serving.gateway.inference.grpc_server import SERVICE, listening
from serving.gateway.scopes import Scope

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
CLOSED = f'{STREAMS}\n[gateway]\nauth = "required"'


@pytest.fixture(autouse=True)
def free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listen on any free port."""
    monkeypatch.setenv("HEADRACE_GATEWAY_GRPC_PORT", "0")


def make(home: Path, scope: Scope, **limits: Any) -> str:
    """Make a key of one scope and return its text."""
    id, secret = keys.fresh()
    made = keys.Key(
        id=id, name=str(scope), sha256="", scopes=(scope,), created_at=NOW, created_by="maria@ops", **limits
    )
    return keys.create(home, made, secret)


async def code(channel: grpc.aio.Channel, call: str, *metadata: tuple[str, str]) -> grpc.StatusCode:
    """Call with a request's metadata and return the status."""
    request = getattr(messages, f"{call}Request")()
    response = getattr(messages, f"{call}Response")
    asked = channel.unary_unary(
        f"/{SERVICE}/{call}", request_serializer=type(request).SerializeToString,
        response_deserializer=response.FromString,
    )  # fmt: skip
    try:
        await asked(request, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


async def test_keys_and_scopes_hold_for_calls(tmp_path: Path):
    """Without a key nothing is answered; with one what its scope says; refusals are in the audit."""
    read, predict = make(tmp_path, Scope.READ), make(tmp_path, Scope.PREDICT)
    sink, status = Memory(), grpc.StatusCode
    async with (
        gateway_over(sink, tmp_path, CLOSED) as gateway,
        listening(gateway, tmp_path / "gateway.json") as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        for call in ("ServerLive", "ModelReady", "ModelInfer", "RepositoryIndex"):
            assert await code(channel, call) is status.UNAUTHENTICATED
            assert await code(channel, call, ("x-api-key", read + "x")) is status.UNAUTHENTICATED
        assert await code(channel, "ServerLive", ("x-api-key", read)) is status.OK
        assert await code(channel, "ServerLive", ("authorization", f"Bearer {read}")) is status.OK
        assert await code(channel, "ModelInfer", ("x-api-key", read)) is status.PERMISSION_DENIED
        assert await code(channel, "ServerReady", ("x-api-key", predict)) is status.PERMISSION_DENIED
        assert await code(channel, "ModelInfer", ("x-api-key", predict)) is status.NOT_FOUND
        names = {("x-api-key", predict), ("x-request-id", "a b")}
        assert await code(channel, "ModelInfer", *names) is status.NOT_FOUND
    audited = [json.loads(record.value) for record in written(sink)]
    assert {"gRPC ModelInfer", "gRPC ServerLive"} <= {one["action"] for one in audited}
    assert {one["status"] for one in audited} == {401, 403, 404}
    assert {one["address"] for one in audited} == {"127.0.0.0/24"}
    assert not any(secret in str(audited) for secret in (read, predict, "a b"))


async def test_a_callers_limit_holds_for_calls(tmp_path: Path):
    """Beyond its requests a second a key is told that it asks too much."""
    key = make(tmp_path, Scope.READ, requests_per_s=0.001, burst=1)
    async with (
        gateway_over(Memory(), tmp_path, CLOSED) as gateway,
        listening(gateway, tmp_path / "gateway.json") as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        assert await code(channel, "ServerLive", ("x-api-key", key)) is grpc.StatusCode.OK
        assert await code(channel, "ServerLive", ("x-api-key", key)) is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_ports_are_kept_and_taken_ones_fatal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A killed gateway's port is taken again; one that was asked for and is taken stops with what to do."""
    record = tmp_path / "gateway.json"
    async with gateway_over(Memory(), tmp_path) as gateway:
        async with listening(gateway, record) as address:
            monkeypatch.setenv("HEADRACE_GATEWAY_GRPC_PORT", address.rpartition(":")[2])
            with pytest.raises(Fatal, match="is taken"):
                async with listening(gateway, record):
                    pass
        record.write_text(json.dumps({"grpc": address}))
        monkeypatch.delenv("HEADRACE_GATEWAY_GRPC_PORT")
        async with listening(gateway, record) as again:
            assert again == address
        monkeypatch.setenv("HEADRACE_GATEWAY_GRPC_PORT", "http")
        with pytest.raises(Fatal, match="HEADRACE_GATEWAY_GRPC_PORT"):
            async with listening(gateway, record):
                pass


def written(sink: Memory) -> Sequence[Any]:
    """Return what the audit sent."""
    return [record for record in sink.records if record.topic == topics.AUDIT.name]
