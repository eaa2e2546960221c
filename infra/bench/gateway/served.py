"""One of the systems that `headrace bench gateway` compares, as a process: its name in, a served no-op out.

    python -m infra.bench.gateway.served fastapi|open|key|jwt PORT HOME REDIS

All answer `POST /v1/events` with the same few bytes, by uvicorn with the same settings; none reads the body.
"""

import asyncio
import secrets
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import jwt
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from infra.bench.credential import COUNTED, key_for
from infra.bench.gateway.inside import STREAMS, Memory, gateway_over
from infra.runtime import log
from schemas.record import Coordinates, Outgoing
from serving.gateway.app import QUIET, protected, uvicorn_config
from serving.gateway.options import Options
from serving.gateway.problems import answer
from serving.gateway.scopes import Scope

SYSTEMS: Final = ("fastapi", "open", "key", "jwt")
PATH: Final = "/v1/events"
CREDENTIAL: Final = "credential"
"""The file in a system's folder that holds what its callers must send."""

_ANSWER: Final = {"accepted": 1}


class Discard(Memory):
    """Takes the audit and forgets it: a run has millions of records."""

    async def send_all(self, records: Sequence[Outgoing]) -> list[Coordinates]:
        return [Coordinates(record.topic, 0, 0) for record in records]


async def serve(name: str, port: int, home: Path, redis: str) -> None:
    """Serve one system until a signal comes."""
    async with AsyncExitStack() as stack:
        if name == "fastapi":
            app: ASGIApp = plain()
            (home / CREDENTIAL).write_text("")
        else:
            secret = secrets.token_urlsafe(48)
            (home / CREDENTIAL).write_text(_credential(name, home, secret))
            options = Options(access_log="off", jwt_secret=SecretStr(secret))
            made = gateway_over(Discard(), home, _config(name), redis=redis, options=options)
            gateway = await stack.enter_async_context(made)
            app = protected(bare(), gateway.shield, "off")
        config = uvicorn_config(app)
        config.port = port
        if name == "fastapi":
            config.http = "httptools"  # as uvicorn comes, without the bounds of a head
        await uvicorn.Server(config).serve()


def plain() -> FastAPI:
    """Return a no-op as FastAPI's own pages show one."""
    app = FastAPI()

    @app.post(PATH)
    async def post_events() -> dict[str, Any]:
        return _ANSWER

    return app


def bare() -> FastAPI:
    """Return the same no-op as the gateway registers its endpoints."""
    app = FastAPI(docs_url=None, redoc_url=None, telemetry=QUIET)

    async def post_events(_: Request) -> Response:
        return answer(_ANSWER)

    app.add_route(PATH, post_events, methods=["POST"])
    return app


def _config(name: str) -> str:
    if name == "open":
        return STREAMS
    tokens = '[gateway.jwt]\nalgorithms = ["HS256"]\n' if name == "jwt" else ""
    return f"{STREAMS}{COUNTED}{tokens}"


def _credential(name: str, home: Path, secret: str) -> str:
    """Make what a caller of a system sends; nothing for an open one."""
    if name == "key":
        return key_for(home, Scope.PUBLISH)
    if name == "jwt":
        expires = datetime.now(UTC) + timedelta(hours=6)
        claims = {"sub": "bench", "scope": "publish", "exp": expires}
        return jwt.encode(claims, secret, "HS256")
    return ""


if __name__ == "__main__":
    log.configure("bench", level="warning", json=True)
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]))
