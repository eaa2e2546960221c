"""ClickHouse's engine in this process: consumes one request's statement and settings, produces its result bytes.

One folder belongs to one process. Each connection has its own settings, current database and temporary tables, costs
about 0.3 ms and 0.1 MB to make, and runs one query at a time; queries of several connections run side by side.
"""

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chdb import _chdb

from infra.local.warehouse.errors import (
    QUERY_IS_TOO_LARGE,
    READONLY,
    SESSION_IS_LOCKED,
    SESSION_NOT_FOUND,
    SYNTAX_ERROR,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    EngineError,
    from_engine,
    refused,
)
from infra.local.warehouse.statement import Statement

# Formats whose text is the same whether it is written at once or in pieces: only their results may be streamed
# (chDB writes each piece as a whole file: a second Arrow header, a second line of column names).
_STREAMABLE = frozenset(
    ("native", "tabseparated", "tsv", "tabseparatedraw", "tsvraw", "csv", "tskv", "jsoneachrow", "jsonlines")
    + ("ndjson", "jsoncompacteachrow", "jsonstringseachrow", "rowbinary", "lineasstring", "rawblob")
)
_FORMAT_TAIL = re.compile(rb"\bFORMAT\s+([A-Za-z0-9]+)\s*;?\s*(?:SETTINGS\b.*)?$", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
_READ_ONLY = 0  # chDB's class of a statement that changes nothing
MAX_SESSIONS = 512
POOL_SIZE = 16


@dataclass
class Query:
    """One request for the engine. ``pieces`` are an INSERT's data in order, for INSERTs alone."""

    statement: Statement
    format: str = "TabSeparated"
    params: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    database: str = ""
    readonly: int = 0
    session_id: str = ""
    session_timeout_s: float = 60.0
    session_check: bool = False
    pieces: Iterable[bytes] = ()


@dataclass
class Summary:
    """What a query did, as far as the engine tells."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    elapsed_ns: int = 0

    def add(self, result: Any) -> None:
        """Count one result of the engine in."""
        self.read_rows += 0 if result.rows_written() else result.storage_rows_read()
        self.read_bytes += 0 if result.rows_written() else result.storage_bytes_read()
        self.result_rows += result.rows_read()
        self.written_rows += result.rows_written()
        self.written_bytes += result.bytes_written()


class _Connection:
    """One chDB connection with what the pool must know about it."""

    def __init__(self, path: str) -> None:
        self.raw = _chdb.connect(path)
        self.database = "default"
        self.tainted = False

    def run(self, sql: str, fmt: str = "TabSeparated", params: Mapping[str, str] | None = None) -> Any:
        try:
            result = self.raw.query(sql, fmt, params=dict(params or {}))
        except RuntimeError as error:
            raise from_engine(str(error)) from None
        if result.has_error():
            raise from_engine(result.error_message())
        return result


@dataclass
class _Session:
    connection: _Connection
    expires: float
    lock: threading.Lock = field(default_factory=threading.Lock)


class Engine:
    """The engine over one folder; its methods may be called from several threads at once.

    Args:
        path: chDB's folder, made when missing.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = str(path)
        self._root = _Connection(self._path)  # held to the end, so that the engine never shuts down between requests
        self._idle: list[_Connection] = []
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()
        self.version = self._root.run("SELECT version()").bytes().decode().strip()
        self.timezone = self._root.run("SELECT timezone()").bytes().decode().strip()

    def close(self) -> None:
        """Close every connection; what was acknowledged is on disk already."""
        with self._lock:
            connections = [*self._idle, *(session.connection for session in self._sessions.values()), self._root]
            self._idle.clear()
            self._sessions.clear()
        for connection in connections:
            connection.raw.close()

    def run(self, query: Query, summary: Summary) -> Iterator[bytes]:
        """Run a query; yields its result in pieces (an empty one too), filling in ``summary`` on the way.

        Raises:
            EngineError: as ClickHouse words it; after the first piece it means that the result is cut off.
        """
        begun = time.monotonic_ns()
        with self._connection(query) as connection:
            for result in self._results(connection, query):
                summary.add(result)
                summary.elapsed_ns = time.monotonic_ns() - begun
                yield result.bytes()

    def _results(self, connection: _Connection, query: Query) -> Iterator[Any]:
        statement = query.statement
        if statement.insert_format is not None:
            yield _insert(connection, query)
            return
        sql = statement.sql.decode(errors="surrogateescape")
        changes = self._judge(connection, sql, query)
        if not changes and statement.verb in ("SELECT", "WITH") and _is_streamable(statement.sql, query.format):
            yield from _stream(connection, sql, query)
            return
        result = connection.run(sql, query.format, query.params)
        connection.tainted |= changes
        yield result

    def _judge(self, connection: _Connection, sql: str, query: Query) -> bool:
        """Whether a statement may leave traces in its connection; refuses what this request must not do."""
        kind = connection.raw.classify_query(sql)
        if kind["statement_count"] > 1:
            raise refused(SYNTAX_ERROR, "SYNTAX_ERROR", "Multi-statements are not allowed")
        reads = int(kind["query_class"]) == _READ_ONLY
        if query.readonly and not reads:
            raise refused(READONLY, "READONLY", "Cannot execute query in readonly mode.")
        return not reads and query.statement.verb not in ("INSERT", "CREATE", "ALTER", "DROP", "OPTIMIZE", "TRUNCATE")

    @contextmanager
    def _connection(self, query: Query) -> Iterator[_Connection]:
        if query.readonly:
            # Never from the pool nor back to it: readonly cannot be taken off a connection again.
            connection = _Connection(self._path)
            try:
                _prepare_readonly(connection, query)
                yield connection
            finally:
                connection.raw.close()
        elif query.session_id:
            yield from self._in_session(query)
        else:
            connection = self._borrow()
            try:
                with _applied(connection, query):
                    yield connection
            except EngineError:
                raise
            except BaseException:
                connection.tainted = True
                raise
            finally:
                self._give_back(connection)

    def _in_session(self, query: Query) -> Iterator[_Connection]:
        session = self._session(query)
        if not session.lock.acquire(blocking=False):
            message = f"Session {query.session_id} is locked by a concurrent client"
            raise refused(SESSION_IS_LOCKED, "SESSION_IS_LOCKED", message)
        try:
            with _applied(session.connection, query):
                yield session.connection
        finally:
            session.expires = time.monotonic() + query.session_timeout_s
            session.lock.release()

    def _session(self, query: Query) -> _Session:
        now = time.monotonic()
        with self._lock:
            for name in [n for n, s in self._sessions.items() if s.expires < now and not s.lock.locked()]:
                self._sessions.pop(name).connection.raw.close()
            session = self._sessions.get(query.session_id)
            if session is None:
                if query.session_check:
                    raise refused(SESSION_NOT_FOUND, "SESSION_NOT_FOUND", f"Session not found: {query.session_id}")
                if len(self._sessions) >= MAX_SESSIONS:
                    message = f"Too many sessions: {MAX_SESSIONS}"
                    raise refused(TOO_MANY_SIMULTANEOUS_QUERIES, "TOO_MANY_SIMULTANEOUS_QUERIES", message)
                session = _Session(_Connection(self._path), now + query.session_timeout_s)
                self._sessions[query.session_id] = session
            session.expires = now + query.session_timeout_s
            return session

    def _borrow(self) -> _Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return _Connection(self._path)

    def _give_back(self, connection: _Connection) -> None:
        with self._lock:
            if not connection.tainted and len(self._idle) < POOL_SIZE:
                self._idle.append(connection)
                return
        connection.raw.close()


def _insert(connection: _Connection, query: Query) -> Any:
    """Feed an INSERT's data to the engine piece by piece; nothing of it is kept if any piece is wrong."""
    if query.readonly:
        raise refused(READONLY, "READONLY", "Cannot execute query in readonly mode.")
    statement, raw = query.statement, connection.raw
    # Any failure leaves the stream half open; such a connection is not used again.
    tainted, connection.tainted = connection.tainted, True
    try:
        handle = raw.send_insert(statement.sql.decode(errors="surrogateescape"), statement.insert_format or query.format)
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


def _stream(connection: _Connection, sql: str, query: Query) -> Iterator[Any]:
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


@contextmanager
def _applied(connection: _Connection, query: Query) -> Iterator[None]:
    """Hold a request's database and settings on a connection for one query."""
    _use(connection, query.database or "default" if not query.session_id else query.database)
    if not query.settings:
        yield
        return
    connection.run(_set_clause(query.settings))
    try:
        yield
    finally:
        try:
            connection.run("SET " + ", ".join(f"{name} = DEFAULT" for name in query.settings))
        except EngineError:
            connection.tainted = True


def _prepare_readonly(connection: _Connection, query: Query) -> None:
    """Readonly 1 refuses every change of a setting; readonly 2 takes the request's and then closes the door.

    The engine's own readonly 2 would let a reader reach files and other machines by table functions, its 1 does not.
    """
    if query.statement.outside is not None:
        message = f"Function {query.statement.outside} is not allowed for read-only users"
        raise refused(READONLY, "READONLY", message)
    _use(connection, query.database)
    wanted = {name: value for name, value in query.settings.items() if name != "readonly"}
    if query.readonly == 1:
        connection.run("SET readonly = 1")
    if wanted:
        connection.run(_set_clause(wanted))
    if query.readonly == 2:
        connection.run("SET readonly = 1")


def _use(connection: _Connection, database: str) -> None:
    if database and database != connection.database:
        connection.run(f"USE {quoted(database)}")
        connection.database = database


def _set_clause(settings: Mapping[str, str]) -> str:
    for name in settings:
        if not _NAME.match(name):
            raise refused(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'")
    return "SET " + ", ".join(f"{name} = {_literal(value)}" for name, value in settings.items())


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quoted(name: str) -> str:
    """An identifier in backticks."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _is_streamable(sql: bytes, default_format: str) -> bool:
    found = _FORMAT_TAIL.search(sql)
    name = found.group(1).decode() if found else default_format
    return name.lower() in _STREAMABLE


def format_of(sql: bytes, default_format: str) -> str:
    """The format a result will have: the statement's own, else the request's."""
    found = _FORMAT_TAIL.search(sql)
    return found.group(1).decode() if found else default_format


def too_large(limit_bytes: int) -> EngineError:
    """The answer to a body that is larger than the server takes."""
    return refused(QUERY_IS_TOO_LARGE, "QUERY_IS_TOO_LARGE", f"The body is larger than {limit_bytes} bytes")


