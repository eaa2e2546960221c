"""ClickHouse's engine in this process: consumes a statement and settings, produces its result's bytes.

One folder belongs to one process. The engine's own threads do the work with Python's lock released, so
queries of several connections really run side by side.
"""

import re
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from infra.local.warehouse.connection import Connection, Pool
from infra.local.warehouse.errors import (
    QUERY_IS_TOO_LARGE,
    READONLY,
    SYNTAX_ERROR,
    EngineError,
    from_engine,
    refused,
)
from infra.local.warehouse.native import framed
from infra.local.warehouse.query import Query, Summary
from infra.local.warehouse.room import refuse_without_room

# Formats whose text is the same whether it is written at once or in pieces: only their results may be
# streamed (chDB writes each piece as a whole file: a second Arrow header, a second line of column names).
_STREAMABLE = frozenset(
    {
        "native",
        "tabseparated",
        "tsv",
        "tabseparatedraw",
        "tsvraw",
        "csv",
        "tskv",
        "jsoneachrow",
        "jsonlines",
        "ndjson",
        "jsoncompacteachrow",
        "jsonstringseachrow",
        "rowbinary",
        "lineasstring",
        "rawblob",
    }
)
_FORMAT_TAIL = re.compile(rb"\bFORMAT\s+([A-Za-z0-9]+)\s*;?\s*(?:SETTINGS\b.*)?$", re.IGNORECASE | re.DOTALL)
# The machine is shared with the broker and the workers, so the caches, which by default may take half of it,
# are bounded; what a soak needs stays far below.
_SERVER_SETTINGS = {
    "max_server_memory_usage_to_ram_ratio": "0.5",
    "mark_cache_size": str(256 << 20),
    "index_mark_cache_size": str(128 << 20),
    "primary_index_cache_size": str(256 << 20),
    "query_condition_cache_size": str(32 << 20),
}
# chDB's classes of statements: one that changes nothing; one that changes its connection (SET, USE, …).
_READ_ONLY, _CONTROL = 0, 3


class Engine:
    """The engine over one folder; its methods may be called from several threads at once.

    Args:
        path: chDB's folder, made when missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        opened = f"{path}?{urlencode(_SERVER_SETTINGS)}"
        self._root = Connection(opened)  # held to the end, so that the engine never ends between requests
        self._pool = Pool(opened)
        self.version = self._root.run("SELECT version()").bytes().decode().strip()
        self.timezone = self._root.run("SELECT timezone()").bytes().decode().strip()

    def close(self) -> None:
        """Close every connection; what was acknowledged is on disk already."""
        self._pool.close()
        self._root.raw.close()

    def run(self, query: Query, summary: Summary) -> Generator[bytes, None, None]:
        """Run a query; yields its result in pieces (an empty one too), filling in ``summary`` on the way.

        Raises:
            EngineError: as ClickHouse words it; after the first piece it means that the result is cut off.
        """
        begun = time.monotonic_ns()
        native = format_of(query.statement.sql, query.format).lower() == "native"
        revision = query.protocol_version if native else 0
        with self._pool.connection(query) as connection:
            for result in self._results(connection, query):
                summary.add(result)
                summary.elapsed_ns = time.monotonic_ns() - begun
                data = result.bytes()
                yield framed(data, result.rows_read(), revision) if revision else data

    def wording(self, error: EngineError) -> bytes:
        """An error's text as ClickHouse ends it, with its version."""
        version = f"(version {self.version})"
        text = error.text if version in error.text else f"{error.text} {version}"
        return text.encode(errors="replace") + b"\n"

    def _results(self, connection: Connection, query: Query) -> Iterator[Any]:
        statement = query.statement
        if statement.verb == "INSERT":
            refuse_without_room(self._path)
        if statement.insert_format is not None:
            yield _insert(connection, query)
            return
        sql = statement.sql.decode(errors="surrogateescape")
        changes = self._judge(connection, sql, query)
        selects = statement.verb in ("SELECT", "WITH") and not changes
        if selects and format_of(statement.sql, query.format).lower() in _STREAMABLE:
            yield from _stream(connection, sql, query)
            return
        result = connection.run(sql, query.format, query.params)
        connection.tainted |= changes
        yield result

    def _judge(self, connection: Connection, sql: str, query: Query) -> bool:
        """Whether a statement may leave traces in its connection; refuses what this request must not do."""
        kind = connection.raw.classify_query(sql)
        if kind["statement_count"] > 1:
            raise refused(SYNTAX_ERROR, "SYNTAX_ERROR", "Multi-statements are not allowed")
        query_class = int(kind["query_class"])
        if query.readonly and query_class != _READ_ONLY:
            raise refused(READONLY, "READONLY", "Cannot execute query in readonly mode.")
        return query_class == _CONTROL


def _insert(connection: Connection, query: Query) -> Any:
    """Feed an INSERT's data to the engine piece by piece.

    As in ClickHouse, an insert of one block (a million rows, 256 MB) is kept whole or not at all; what a
    larger one wrote before its first wrong row stays.
    """
    if query.readonly:
        raise refused(READONLY, "READONLY", "Cannot execute query in readonly mode.")
    statement, raw = query.statement, connection.raw
    # Any failure leaves the stream half open; such a connection is not used again.
    tainted, connection.tainted = connection.tainted, True
    try:
        sql = statement.sql.decode(errors="surrogateescape")
        handle = raw.send_insert(sql, statement.insert_format or query.format)
        try:
            for piece in query.pieces:
                raw.insert_append(handle, piece)
        except BaseException:
            with suppress(RuntimeError):  # the first error is the one to tell
                raw.insert_cancel(handle)
            raise
        result = raw.insert_done(handle)
    except RuntimeError as error:
        raise from_engine(str(error)) from None
    connection.tainted = tainted
    return result


def _stream(connection: Connection, sql: str, query: Query) -> Iterator[Any]:
    try:
        handle = connection.raw.send_query(sql, query.format, params=dict(query.params))
    except RuntimeError as error:
        raise from_engine(str(error)) from None
    finished = False
    try:
        while True:
            try:
                piece = connection.raw.streaming_fetch_result(handle)
            except RuntimeError as error:
                finished = True
                raise from_engine(str(error)) from None
            finished = piece.size() == 0
            yield piece
            if finished:
                return
    finally:
        if not finished:  # the client went away
            connection.raw.streaming_cancel_query(handle)


def format_of(sql: bytes, default_format: str) -> str:
    """The format a result will have: the statement's own, else the request's."""
    found = _FORMAT_TAIL.search(sql)
    return found.group(1).decode() if found else default_format


def too_large(limit_bytes: int) -> EngineError:
    """The answer to a body that is larger than the server takes."""
    return refused(QUERY_IS_TOO_LARGE, "QUERY_IS_TOO_LARGE", f"The body is larger than {limit_bytes} bytes")
