"""ClickHouse's HTTP interface over the engine: consumes HTTP requests on loopback, produces ClickHouse's answers."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from aiohttp import web

from infra.local.warehouse.engine import Engine, Query, Summary, format_of, too_large
from infra.local.warehouse.errors import (
    NOT_IMPLEMENTED,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    EngineError,
    refused,
)
from infra.local.warehouse.request import Asked, credentials, read_query
from infra.local.warehouse.users import Users
from infra.local.warehouse.wire import Encoder, encoder_for
from infra.runtime.log import get_logger

log = get_logger(__name__)

BODY_PIECE_BYTES = 1 << 20
ANSWER_PIECE_BYTES = 4 << 20
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_TYPES = {
    "tabseparated": "text/tab-separated-values; charset=UTF-8",
    "tsv": "text/tab-separated-values; charset=UTF-8",
    "csv": "text/csv; charset=UTF-8; header=absent",
    "csvwithnames": "text/csv; charset=UTF-8; header=present",
    "jsoneachrow": "application/x-ndjson; charset=UTF-8",
    "json": "application/json; charset=UTF-8",
    "xml": "application/xml; charset=UTF-8",
    "html": "text/html; charset=UTF-8",
}
_BINARY = ("native", "arrow", "parquet", "rowbinary", "orc", "avro", "rawblob", "msgpack", "npy", "protobuf")


class Front:
    """The request handlers.

    Args:
        engine: what answers queries.
        users: who may ask.
        max_body_bytes: the largest body taken, as it comes over the wire.
        max_running: queries that run at once; as many again as ``max_waiting`` wait, more are refused (code 202).
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
                    answer = _Answer(self, request, asked, headers)
                    return await answer.give(user)
            finally:
                self._in_hand -= 1
        except EngineError as error:
            return self._refusal(error, headers)

    def _refusal(self, error: EngineError, headers: dict[str, str]) -> web.Response:
        log.info("query.refused", code=error.code, text=error.text[:500])
        told = {**headers, "X-ClickHouse-Exception-Code": str(error.code), "X-ClickHouse-Summary": _summary(Summary())}
        told["Content-Type"] = "text/plain; charset=UTF-8"
        return web.Response(status=error.status, body=self.wording(error), headers=told)

    def wording(self, error: EngineError) -> bytes:
        """An error's text as ClickHouse ends it, with its version."""
        version = f"(version {self._engine.version})"
        text = error.text if version in error.text else f"{error.text} {version}"
        return text.encode(errors="replace") + b"\n"


class _Answer:
    """One query's way from the request to its answer."""

    def __init__(self, front: Front, request: web.Request, asked: Asked, headers: dict[str, str]) -> None:
        self._front = front
        self._request = request
        self._asked = asked
        self._headers = headers
        self._loop = asyncio.get_running_loop()
        self._body_bytes = 0
        self._summary = Summary()

    async def give(self, user: object) -> web.StreamResponse:
        first = await self._next_of_body()

        def begin() -> tuple[Query, Iterator[bytes], bytes, bool]:
            query = read_query(self._asked, user, self._body(first))  # type: ignore[arg-type]
            results = self._front._engine.run(query, self._summary)
            data, ended = _gather(results)
            return query, results, data, ended

        query, results, data, ended = await self._loop.run_in_executor(self._front._pool, begin)
        self._describe(query)
        encoding = encoder_for(self._accepted()) if data else None
        if encoding is not None:
            self._headers["Content-Encoding"] = encoding[0]
        if ended:
            self._headers["X-ClickHouse-Summary"] = _summary(self._summary)
            body = encoding[1].compress(data) + encoding[1].flush() if encoding else data
            return web.Response(body=body, headers=self._headers)
        return await self._stream(results, data, encoding[1] if encoding else None)

    async def _stream(self, results: Iterator[bytes], data: bytes, encoder: Encoder | None) -> web.StreamResponse:
        self._headers["X-ClickHouse-Summary"] = _summary(self._summary)
        response = web.StreamResponse(headers=self._headers)
        await response.prepare(self._request)
        ended = False
        try:
            while True:
                if data:
                    await response.write(encoder.compress(data) if encoder else data)
                if ended:
                    break
                data, ended = await self._loop.run_in_executor(self._front._pool, _gather, results)
            if encoder is not None:
                await response.write(encoder.flush())
            await response.write_eof()
        except EngineError as error:
            # The status is out already: tell the error in the body, then break off so that no client takes it for whole.
            text = b"\n" + self._front.wording(error)
            await response.write(encoder.compress(text) + encoder.flush() if encoder else text)
            if self._request.transport is not None:
                self._request.transport.close()
        finally:
            await asyncio.shield(self._loop.run_in_executor(self._front._pool, results.close))  # type: ignore[attr-defined]
        return response

    def _accepted(self) -> str:
        return self._asked.headers.get("accept-encoding", "") if self._asked.flag("enable_http_compression") else ""

    def _describe(self, query: Query) -> None:
        name = format_of(query.statement.sql, query.format) if query.statement.insert_format is None else "TabSeparated"
        self._headers["X-ClickHouse-Format"] = name
        self._headers["Content-Type"] = _content_type(name)

    async def _next_of_body(self) -> bytes:
        """The next piece of the body, about a megabyte; empty at its end."""
        parts: list[bytes] = []
        size = 0
        while size < BODY_PIECE_BYTES:
            part = await self._request.content.readany()
            if not part:
                break
            parts.append(part)
            size += len(part)
        self._body_bytes += size
        if self._body_bytes > self._front._max_body_bytes:
            raise too_large(self._front._max_body_bytes)
        return b"".join(parts)

    def _body(self, first: bytes) -> Iterator[bytes]:
        """The body for the query's thread, which asks the event loop for each further piece as it needs it."""
        piece = first
        while piece:
            yield piece
            if self._request.content.at_eof():
                return
            piece = asyncio.run_coroutine_threadsafe(self._next_of_body(), self._loop).result()


async def _read_asked(request: web.Request) -> Asked:
    params = {name: value for name, value in request.query.items()}
    if request.content_type == "multipart/form-data":
        for name, field in (await request.post()).items():
            if not isinstance(field, str):
                raise refused(NOT_IMPLEMENTED, "NOT_IMPLEMENTED", "External tables are not supported over HTTP here")
            params.setdefault(name, field)
    return Asked(request.method, params, {name.lower(): value for name, value in request.headers.items()})


def _refuse_foreign_pages(request: web.Request) -> None:
    """A web page of another site, open in the user's browser, must not reach the database through it."""
    origin = request.headers.get("Origin")
    host = urlsplit(f"//{request.headers.get('Host', '')}").hostname
    if host not in _LOOPBACK or (origin is not None and urlsplit(origin).hostname not in _LOOPBACK):
        raise web.HTTPForbidden(text="This server answers to pages and host names of this machine alone.\n")


def _gather(results: Iterator[bytes]) -> tuple[bytes, bool]:
    """Pieces up to a few megabytes, and whether the result has ended with them."""
    parts: list[bytes] = []
    size = 0
    for part in results:
        parts.append(part)
        size += len(part)
        if size >= ANSWER_PIECE_BYTES:
            return b"".join(parts), False
    return b"".join(parts) if len(parts) != 1 else parts[0], True


def _content_type(name: str) -> str:
    lower = name.lower()
    if lower in _TYPES:
        return _TYPES[lower]
    if lower.startswith(_BINARY):
        return "application/octet-stream"
    if lower.startswith("json"):
        return "application/json; charset=UTF-8"
    return "text/plain; charset=UTF-8"


def _summary(summary: Summary) -> str:
    figures = {
        "read_rows": summary.read_rows,
        "read_bytes": summary.read_bytes,
        "written_rows": summary.written_rows,
        "written_bytes": summary.written_bytes,
        "total_rows_to_read": summary.read_rows,
        "result_rows": summary.result_rows or summary.written_rows,
        "result_bytes": 0,
        "elapsed_ns": summary.elapsed_ns,
    }
    return json.dumps({name: str(value) for name, value in figures.items()}, separators=(",", ":"))


async def _ok(_request: web.Request) -> web.Response:
    return _ok_response()


def _ok_response() -> web.Response:
    return web.Response(body=b"Ok.\n", headers={"Content-Type": "text/html; charset=UTF-8"})
