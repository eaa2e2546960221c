"""ClickHouse's HTTP interface over the engine: consumes HTTP requests on loopback, produces their answers."""

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from aiohttp import web

from infra.local.warehouse.answer import Answer, summary_header
from infra.local.warehouse.engine import Engine
from infra.local.warehouse.errors import (
    NOT_IMPLEMENTED,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    EngineError,
    refused,
)
from infra.local.warehouse.query import Summary
from infra.local.warehouse.request import Asked, credentials
from infra.local.warehouse.users import Users
from infra.runtime.log import get_logger

log = get_logger(__name__)

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class Front:
    """The request handlers.

    Args:
        engine: what answers queries.
        users: who may ask.
        max_body_bytes: the largest body taken, as it comes over the wire.
        max_running: queries that run at once; ``max_waiting`` more wait, the rest is refused (code 202).
    """

    def __init__(
        self,
        engine: Engine,
        users: Users,
        *,
        max_body_bytes: int = 1 << 30,
        max_running: int = 16,
        max_waiting: int = 256,
    ) -> None:
        self._engine = engine
        self._users = users
        self._max_body_bytes = max_body_bytes
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._in_hand = 0
        self._pool = ThreadPoolExecutor(max_running, thread_name_prefix="query")
        self._slots = asyncio.Semaphore(max_running)

    def app(self) -> web.Application:
        """The application: ``/`` for queries, ``/ping`` and ``/replicas_status`` for health checks."""
        app = web.Application()
        app.router.add_route("GET", "/ping", _ok)
        app.router.add_route("GET", "/replicas_status", _ok)
        app.router.add_route("GET", "/", self.answer)
        app.router.add_route("POST", "/", self.answer)
        return app

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one query."""
        query_id = request.query.get("query_id") or str(uuid.uuid4())
        headers = {
            "X-ClickHouse-Server-Display-Name": "headrace",
            "X-ClickHouse-Query-Id": query_id,
            "X-ClickHouse-Timezone": self._engine.timezone,
        }
        try:
            _refuse_foreign_pages(request)
            asked = await _read_asked(request)
            user = self._users.authenticate(*credentials(asked))
            if request.method == "GET" and "query" not in asked.params:
                return _ok_response()
            if self._in_hand >= self._max_running + self._max_waiting:
                message = f"Too many simultaneous queries. Maximum: {self._max_running + self._max_waiting}"
                raise refused(TOO_MANY_SIMULTANEOUS_QUERIES, "TOO_MANY_SIMULTANEOUS_QUERIES", message)
            self._in_hand += 1
            try:
                async with self._slots:
                    answer = Answer(
                        self._engine, self._pool, request, asked, user, headers, self._max_body_bytes
                    )
                    return await answer.give()
            finally:
                self._in_hand -= 1
        except EngineError as error:
            return self._refusal(error, headers)

    def _refusal(self, error: EngineError, headers: dict[str, str]) -> web.Response:
        log.info("query.refused", code=error.code, text=error.text[:500])
        told = {
            **headers,
            "X-ClickHouse-Exception-Code": str(error.code),
            "X-ClickHouse-Summary": summary_header(Summary()),
        }
        told["Content-Type"] = "text/plain; charset=UTF-8"
        return web.Response(status=error.status, body=self._engine.wording(error), headers=told)


async def _read_asked(request: web.Request) -> Asked:
    params = dict(request.query.items())
    if request.content_type == "multipart/form-data":
        for name, field in (await request.post()).items():
            if not isinstance(field, str):
                raise refused(
                    NOT_IMPLEMENTED, "NOT_IMPLEMENTED", "External tables are not supported over HTTP here"
                )
            params.setdefault(name, field)
    return Asked(request.method, params, {name.lower(): value for name, value in request.headers.items()})


def _refuse_foreign_pages(request: web.Request) -> None:
    """A web page of another site, open in the user's browser, must not reach the database through it."""
    origin = request.headers.get("Origin")
    host = urlsplit(f"//{request.headers.get('Host', '')}").hostname
    if host not in _LOOPBACK or (origin is not None and urlsplit(origin).hostname not in _LOOPBACK):
        raise web.HTTPForbidden(text="This server answers to pages and host names of this machine alone.\n")


async def _ok(_request: web.Request) -> web.Response:
    return _ok_response()


def _ok_response() -> web.Response:
    return web.Response(body=b"Ok.\n", headers={"Content-Type": "text/html; charset=UTF-8"})
