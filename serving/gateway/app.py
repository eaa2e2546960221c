"""The `gateway` worker: HTTP requests in, `events.raw` and `labels` out, answers from ClickHouse."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import msgspec
import uvicorn
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from infra.runtime.clock import SystemClock
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from schemas.errors import Fatal
from serving.consumer import inference_threads
from serving.gateway.core import Gateway, Lookup
from serving.gateway.edge import Edge
from serving.gateway.events import post_events
from serving.gateway.health import Readiness, get_live, get_metrics
from serving.gateway.inference.engine import Inference
from serving.gateway.inference.grpc_server import listening
from serving.gateway.inference.rest import add_routes
from serving.gateway.judge import Judge
from serving.gateway.labels import post_labels
from serving.gateway.microbatch import MicroBatcher
from serving.gateway.openapi import describe
from serving.gateway.options import Options
from serving.gateway.predictions import get_prediction
from serving.gateway.problems import Refused, problem

USUAL_PORT: Final = 8080
_LOOPBACK: Final = "127.0.0.1"
_log = get_logger(__name__)


async def run(settings: Settings) -> None:
    """Serve until cancelled; then finish the requests in hand and stop.

    Raises:
        Fatal: the port that was asked for is taken.
        Retryable: Kafka does not answer.
    """
    options = Options.from_environment(os.environ)
    record = settings.home / "gateway.json"
    with listen(options.port, record) as listener:
        await create_topics(settings)
        async with opened(settings, options) as gateway, listening(gateway, record) as grpc:
            await _serve(application(gateway), listener, record, grpc)


@contextlib.asynccontextmanager
async def opened(settings: Settings, options: Options) -> AsyncIterator[Gateway]:
    """Yield a gateway's parts, connected to Kafka."""
    async with Publisher(settings, "headrace-gateway") as publisher:
        batcher = MicroBatcher(publisher, max_pending=options.max_pending)
        lookup = Lookup(settings.endpoints.clickhouse, settings.config.database)
        batcher.start()
        clock, judge = SystemClock(), Judge(settings.config.streams)
        try:
            async with Inference(settings, clock, inference_threads()) as inference:
                yield Gateway(settings, options, clock, judge, batcher, lookup, inference)
        finally:
            await batcher.stop()
            await lookup.close()


def application(gateway: Gateway) -> ASGIApp:
    """Put the endpoints together.

    They are plain routes: FastAPI's argument handling would cost more than the rest of a request, and the
    contracts judge what comes in. FastAPI serves their description at `/openapi.json`.
    """
    app = FastAPI(title="Headrace gateway", version="1", docs_url=None, redoc_url=None)
    app.state.gateway = gateway
    app.add_route("/v1/events", post_events, methods=["POST"])
    app.add_route("/v1/labels", post_labels, methods=["POST"])
    app.add_route("/v1/predictions", get_prediction, methods=["GET"])
    app.add_route("/v1/predictions/{source:path}/{id}", get_prediction, methods=["GET"])
    app.add_route("/livez", get_live, methods=["GET"])
    app.add_route("/readyz", Readiness().get, methods=["GET"])
    app.add_route("/metrics", get_metrics, methods=["GET"])
    add_routes(app)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(HTTPException, _on_http)
    describe(app)
    return Edge(app, gateway.options.access_log)


@contextlib.contextmanager
def listen(port: int | None, record: Path) -> Iterator[socket.socket]:
    """Yield a listening loopback socket: the given port, else the last one, 8080, or any free one.

    Raises:
        Fatal: the given port is taken.
    """
    candidates = [port] if port is not None else [_last_port(record), USUAL_PORT, 0]
    for candidate in candidates:
        if candidate is None:
            continue
        # The protocol is named because asyncio switches Nagle's delay off only on sockets that name it.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            # A closed connection's TIME_WAIT does not make the port taken; another listener still does.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((_LOOPBACK, candidate))
            listener.listen(1024)
        except OSError:
            listener.close()
            continue
        with listener:
            listener.setblocking(False)
            yield listener
        return
    raise Fatal(f"port {port} is taken; set HEADRACE_GATEWAY_PORT to another one, or 0 for any free one")


class _Server(uvicorn.Server):
    """Leaves the signals to the worker, which cancels `run`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(app: ASGIApp, listener: socket.socket, record: Path, grpc: str) -> None:
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        backlog=1024,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="gateway-http")
    port = listener.getsockname()[1]
    try:
        _write(record, f"http://{_LOOPBACK}:{port}", grpc)
        _log.info("gateway.started", url=f"http://{_LOOPBACK}:{port}", grpc=grpc)
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        record.unlink(missing_ok=True)
        await serving
        _log.info("gateway.stopped")


def _write(record: Path, url: str, grpc: str) -> None:
    """Replace the record in one step; the sockets listen already, so whoever reads it can connect."""
    record.parent.mkdir(parents=True, exist_ok=True)
    scratch = record.with_name(f".{record.name}.{os.getpid()}")
    scratch.write_bytes(msgspec.json.encode({"url": url, "grpc": grpc}))
    scratch.replace(record)


def _last_port(record: Path) -> int | None:
    """Return the port of a gateway that was killed here, so that its clients find the next one."""
    try:
        url: str = msgspec.json.decode(record.read_bytes())["url"]
        return int(url.rpartition(":")[2])
    except (OSError, msgspec.DecodeError, KeyError, TypeError, ValueError):
        return None


async def _on_refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101  # registered for nothing else
    return problem(error, request.state.request_id)


async def _on_http(request: Request, error: Exception) -> Response:
    """Answer for what no route takes: 404 and 405."""
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for nothing else
    response = problem(Refused(error.status_code, error.detail), request.state.request_id)
    response.headers.update(error.headers or {})
    return response
