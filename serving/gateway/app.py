"""The `gateway` worker: HTTP requests in, `events.raw` and `labels` out, answers from ClickHouse."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import uvicorn
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from infra.runtime.clock import SystemClock
from infra.runtime.kafka.admin import create_topics
from infra.runtime.kafka.produce import Publisher
from infra.runtime.log import get_logger
from infra.runtime.settings import Settings, config_path
from schemas.errors import Fatal
from schemas.gateway import Limits
from serving.consumer import inference_threads
from serving.gateway.core import Gateway, Lookup
from serving.gateway.direct import Direct
from serving.gateway.edge import Edge
from serving.gateway.events import post_events
from serving.gateway.guard import Guard
from serving.gateway.health import Readiness, get_live, get_metrics
from serving.gateway.http import Config
from serving.gateway.inference.engine import Inference
from serving.gateway.inference.grpc_server import listening
from serving.gateway.inference.rest import INFER, add_routes, post_infer
from serving.gateway.judge import Judge
from serving.gateway.labels import post_labels
from serving.gateway.microbatch import MicroBatcher
from serving.gateway.open_streams import Streams
from serving.gateway.openapi import describe
from serving.gateway.options import AccessLog, Options
from serving.gateway.predictions import get_prediction
from serving.gateway.problems import Refused, problem
from serving.gateway.reload import Reloader
from serving.gateway.shield import Shield, asks_for_keys, shielded
from serving.gateway.stream import get_stream
from serving.gateway.tls import Certificate

USUAL_PORT: Final = 8080
QUIET: Final[TelemetryConfig] = {"tracing": False, "metrics": False, "logs": False}
"""FastAPI looks for OpenTelemetry's providers at each request, a quarter of its own cost."""

_LOOPBACK: Final = "127.0.0.1"
_log = get_logger(__name__)


async def run(settings: Settings) -> None:
    """Serve until cancelled; then finish the requests in hand and stop.

    Raises:
        Fatal: the port that was asked for is taken, or others could come in without a key.
        Retryable: Kafka does not answer.
    """
    options = Options.from_environment(os.environ)
    section = settings.config.gateway
    asks = asks_for_keys(settings)  # before anything listens
    certificate = Certificate.of(section.tls)  # the same
    record = settings.home / "gateway.json"
    with listen(options.port, record, section.host) as listener:
        await create_topics(settings)
        async with opened(settings, options) as gateway, listening(gateway, record, certificate) as grpc:
            app = application(gateway)
            gateway.shield.trail.changed("gateway.started", "done", "asks for keys" if asks else "open")
            reloader = Reloader(
                config_path(), settings.config, settings.home, gateway.shield, app.relevel, certificate
            )
            watching = asyncio.create_task(reloader.run(), name="gateway-reload")
            try:
                config = uvicorn_config(app, lambda: gateway.limits.max_connections, certificate)
                await _serve(config, listener, record, grpc, gateway.streams)
            finally:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):  # that is how it ends
                    await watching


@contextlib.asynccontextmanager
async def opened(settings: Settings, options: Options) -> AsyncIterator[Gateway]:
    """Yield a gateway's parts, connected to Kafka."""
    clock = SystemClock()
    async with Publisher(settings, "headrace-gateway") as publisher:
        batcher = MicroBatcher(publisher)
        lookup = Lookup(settings.endpoints.clickhouse, settings.config.database)
        batcher.start()
        judge = Judge(settings.config.streams)
        try:
            async with (
                shielded(settings, options, clock, batcher, publisher) as shield,
                Inference(settings, clock, inference_threads()) as inference,
            ):
                yield Gateway(settings, options, clock, judge, batcher, lookup, shield, inference)
        finally:
            await batcher.stop()
            await lookup.close()


def application(gateway: Gateway) -> Edge:
    """Put the endpoints together, behind the guard and the edge: `Edge(CORS(Guard(Direct(endpoints))))`.

    They are plain routes: FastAPI's argument handling would cost more than the rest of a request, and the
    contracts judge what comes in. FastAPI serves their description at `/openapi.json`.
    """
    app = FastAPI(title="Headrace gateway", version="1", docs_url=None, redoc_url=None, telemetry=QUIET)
    app.state.gateway = gateway
    app.add_route("/v1/events", post_events, methods=["POST"])
    app.add_route("/v1/labels", post_labels, methods=["POST"])
    app.add_route("/v1/predictions", get_prediction, methods=["GET"])
    app.add_route("/v1/predictions/stream", get_stream, methods=["GET"])
    app.add_route("/v1/predictions/{source:path}/{id}", get_prediction, methods=["GET"])
    app.add_route("/livez", get_live, methods=["GET"])
    app.add_route("/readyz", Readiness().get, methods=["GET"])
    app.add_route("/metrics", get_metrics, methods=["GET"])
    add_routes(app)
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(HTTPException, _on_http)
    describe(app)
    posts = {"/v1/events": post_events, "/v1/labels": post_labels, **dict.fromkeys(INFER, post_infer)}
    return protected(Direct(app, posts, _on_refused), gateway.shield, gateway.options.access_log)


def protected(app: ASGIApp, shield: Shield, access_log: AccessLog) -> Edge:
    """Put what protects it around an application. A browser's preflight needs no key, so CORS comes first."""
    guarded: ASGIApp = Guard(app, shield.door)
    cors = shield.current.section.cors
    if cors.origins:
        guarded = CORSMiddleware(
            guarded,
            allow_origins=cors.origins,
            allow_methods=("GET", "POST"),
            allow_headers=("authorization", "x-api-key", "content-type", "x-request-id"),
            expose_headers=("x-request-id", "retry-after"),
            max_age=int(cors.max_age),
        )
    return Edge(guarded, access_log, shield.trail)


@contextlib.contextmanager
def listen(port: int | None, record: Path, host: str = _LOOPBACK) -> Iterator[socket.socket]:
    """Yield a listening socket: on the given port, else the last one, 8080, or any free one.

    Raises:
        Fatal: the given port is taken, or the host is no address of this machine.
    """
    candidates = [port] if port is not None else [_last_port(record), USUAL_PORT, 0]
    for candidate in candidates:
        if candidate is None:
            continue
        # The protocol is named because asyncio switches Nagle's delay off only on sockets that name it.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            # A closed connection's TIME_WAIT does not make the port taken; another listener still does.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, candidate))
            listener.listen(1024)
        except OSError:
            listener.close()
            continue
        with listener:
            listener.setblocking(False)
            yield listener
        return
    raise Fatal(
        f"{host}, port {port if port is not None else USUAL_PORT}, cannot be listened on: set"
        " HEADRACE_GATEWAY_PORT to another port, or 0 for any free one, and gateway.host to an address of"
        " this machine"
    )


class _Server(uvicorn.Server):
    """Leaves the signals to the worker, which cancels `run`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def uvicorn_config(
    app: ASGIApp,
    max_connections: Callable[[], int] = lambda: Limits().max_connections,
    certificate: Certificate | None = None,
) -> Config:
    """Return how the gateway is served: its edge logs and adds headers, so uvicorn does neither."""
    return Config(
        app,
        max_connections,
        ssl_context_factory=certificate and (lambda *_: certificate.context),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        backlog=1024,
    )


async def _serve(config: Config, listener: socket.socket, record: Path, grpc: str, streams: Streams) -> None:
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="gateway-http")
    url = _url(listener, "https" if config.is_ssl else "http")
    try:
        _write(record, url, grpc)
        _log.info("gateway.started", url=url, grpc=grpc)
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        streams.end()
        record.unlink(missing_ok=True)
        await serving
        _log.info("gateway.stopped")


def _url(listener: socket.socket, scheme: str) -> str:
    """Return where this machine's own clients reach a socket: by loopback where it listens everywhere."""
    host, port, *_ = listener.getsockname()
    if host in {"0.0.0.0", "::"}:  # noqa: S104  # compared, not bound
        host = _LOOPBACK if host == "0.0.0.0" else "::1"  # noqa: S104  # the same
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


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
    # The reason alone: a refusal's text may quote the event.
    request.state.refusal = str(error.extra.get("reason", ""))
    return problem(error, request.state.request_id)


async def _on_http(request: Request, error: Exception) -> Response:
    """Answer for what no route takes: 404 and 405."""
    assert isinstance(error, HTTPException)  # noqa: S101  # registered for nothing else
    response = problem(Refused(error.status_code, error.detail), request.state.request_id)
    response.headers.update(error.headers or {})
    return response
