"""One query's answer over HTTP: consumes a body and produces a response, both piece by piece.

The event loop only moves bytes. Decoding, the engine and encoding run in a thread of the pool, which asks
the loop for the next piece of the body when it needs one, so that neither a large insert nor a large result
lies in memory whole.
"""

import asyncio
import json
import secrets
from collections.abc import Generator, Iterator
from concurrent.futures import Executor

from aiohttp import web

from infra.local.warehouse.engine import Engine, format_of, too_large
from infra.local.warehouse.errors import EngineError
from infra.local.warehouse.query import Query, Summary
from infra.local.warehouse.request import Asked, read_query
from infra.local.warehouse.users import User
from infra.local.warehouse.wire import Encoder, encoder_for

BODY_PIECE_BYTES = 1 << 20
ANSWER_PIECE_BYTES = 4 << 20
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


class Answer:
    """One query's way from the request to its answer."""

    def __init__(
        self,
        engine: Engine,
        pool: Executor,
        request: web.Request,
        asked: Asked,
        user: User,
        headers: dict[str, str],
        max_body_bytes: int,
    ) -> None:
        self._engine = engine
        self._pool = pool
        self._request = request
        self._asked = asked
        self._user = user
        self._headers = headers
        self._max_body_bytes = max_body_bytes
        self._loop = asyncio.get_running_loop()
        self._body_bytes = 0
        self._summary = Summary()
        self._results: Generator[bytes, None, None] | None = None
        self._encoder: Encoder | None = None

    async def give(self) -> web.StreamResponse:
        """Run the query and send its result.

        Raises:
            EngineError: it failed before anything was sent.
        """
        first = await self._next_of_body()
        data, ended = await self._loop.run_in_executor(self._pool, self._begin, first)
        self._headers["X-ClickHouse-Summary"] = summary_header(self._summary)
        if ended:
            return web.Response(body=data, headers=self._headers)
        return await self._stream(data)

    def _begin(self, first: bytes) -> tuple[bytes, bool]:
        query = read_query(self._asked, self._user, self._body(first))
        self._describe(query)
        self._results = self._engine.run(query, self._summary)
        found = None
        if self._asked.flag("enable_http_compression", default="1"):  # as the engine's own setting
            found = encoder_for(self._asked.headers.get("accept-encoding", ""))
        if found is None:
            return self._next()
        encoding, self._encoder = found
        data, ended = self._next()
        self._headers["Content-Encoding"] = encoding  # not before, for the text of an error is not encoded
        return data, ended

    def _next(self) -> tuple[bytes, bool]:
        """The next few megabytes of the result as they are sent, and whether it has ended with them."""
        parts: list[bytes] = []
        size = 0
        for part in self._results or ():
            parts.append(part)
            size += len(part)
            if size >= ANSWER_PIECE_BYTES:
                return self._encoded(b"".join(parts)), False
        data = self._encoded(b"".join(parts))
        return (data + self._encoder.flush() if self._encoder is not None else data), True

    def _encoded(self, data: bytes) -> bytes:
        return data if self._encoder is None else self._encoder.compress(data)

    async def _stream(self, data: bytes) -> web.StreamResponse:
        tag = secrets.token_hex(8)
        response = web.StreamResponse(headers={**self._headers, "X-ClickHouse-Exception-Tag": tag})
        ended = False
        try:
            await response.prepare(self._request)
            while True:
                if data:
                    await response.write(data)
                if ended:
                    break
                data, ended = await self._loop.run_in_executor(self._pool, self._next)
            await response.write_eof()
        except EngineError as error:
            # The status is out already: say it in the body, then break off, so that no client takes this for
            # whole.
            text = self._encoded(_told_late(self._engine.wording(error), tag.encode()))
            await response.write(text + self._encoder.flush() if self._encoder is not None else text)
            if self._request.transport is not None:
                self._request.transport.close()
        finally:
            if self._results is not None:
                await asyncio.shield(self._loop.run_in_executor(self._pool, self._results.close))
        return response

    def _describe(self, query: Query) -> None:
        inserts = query.statement.insert_format is not None
        name = "TabSeparated" if inserts else format_of(query.statement.sql, query.format)
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
        if self._body_bytes > self._max_body_bytes:
            raise too_large(self._max_body_bytes)
        return b"".join(parts)

    def _body(self, first: bytes) -> Iterator[bytes]:
        piece = first
        while piece:
            yield piece
            if self._request.content.at_eof():
                return
            piece = asyncio.run_coroutine_threadsafe(self._next_of_body(), self._loop).result()


def _content_type(name: str) -> str:
    lower = name.lower()
    if lower in _TYPES:
        return _TYPES[lower]
    if lower.startswith(_BINARY):
        return "application/octet-stream"
    if lower.startswith("json"):
        return "application/json; charset=UTF-8"
    return "text/plain; charset=UTF-8"


def _told_late(wording: bytes, tag: bytes) -> bytes:
    """An error behind a part of the result, between marks by which clients tell it from data."""
    head = b"\r\n__exception__\r\n" + tag + b"\r\n"
    return head + wording + b"%d %s\r\n__exception__\r\n" % (len(wording), tag)


def summary_header(summary: Summary) -> str:
    """The ``X-ClickHouse-Summary`` header."""
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
