"""Connections to the engine: each with its own settings, current database and temporary tables.

A connection costs about 0.3 ms and 0.1 MB to make and runs one query at a time; those of several connections
run side by side. What one request sets must not be seen by the next, so settings are taken back or the
connection is dropped.
"""

import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from chdb import _chdb

from infra.local.warehouse.errors import (
    READONLY,
    SESSION_IS_LOCKED,
    SESSION_NOT_FOUND,
    TOO_MANY_SIMULTANEOUS_QUERIES,
    EngineError,
    from_engine,
    refused,
)
from infra.local.warehouse.query import Query

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
MAX_SESSIONS = 512
POOL_SIZE = 16


class Connection:
    """One chDB connection with what the pool must know about it."""

    def __init__(self, path: str) -> None:
        self.raw: Any = _chdb.connect(path)  # type: ignore[attr-defined]  # the extension has no type information
        self.database = "default"
        self.tainted = False

    def run(self, sql: str, fmt: str = "TabSeparated", params: Mapping[str, str] | None = None) -> Any:
        """Run one statement whole; returns chDB's result.

        Raises:
            EngineError: as ClickHouse words it.
        """
        try:
            result = self.raw.query(sql, fmt, params=dict(params or {}))
        except RuntimeError as error:
            raise from_engine(str(error)) from None
        if result.has_error():
            raise from_engine(result.error_message())
        return result


@dataclass
class Session:
    """A client's own connection, kept between its requests; ``expires`` is on the monotonic clock."""

    connection: Connection
    expires: float
    lock: threading.Lock = field(default_factory=threading.Lock)


class Pool:
    """The connections of one folder: idle ones for single requests, one of its own for each session."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: list[Connection] = []
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            connections = [*self._idle, *(session.connection for session in self._sessions.values())]
            self._idle.clear()
            self._sessions.clear()
        for connection in connections:
            connection.raw.close()

    @contextmanager
    def connection(self, query: Query) -> Iterator[Connection]:
        """A connection that is set up as one query asks, and is as before after it."""
        if query.readonly:
            with self._for_reader(query) as connection:
                yield connection
        elif query.session_id:
            with self._in_session(query) as connection:
                yield connection
        else:
            with self._for_once(query) as connection:
                yield connection

    @contextmanager
    def _for_reader(self, query: Query) -> Iterator[Connection]:
        # Never from the pool nor back to it: readonly cannot be taken off a connection again.
        connection = Connection(self._path)
        try:
            prepare_readonly(connection, query)
            yield connection
        finally:
            connection.raw.close()

    @contextmanager
    def _for_once(self, query: Query) -> Iterator[Connection]:
        connection = self._borrow()
        try:
            with applied(connection, query):
                yield connection
        except EngineError:
            raise
        except BaseException:
            connection.tainted = True
            raise
        finally:
            self._give_back(connection)

    @contextmanager
    def _in_session(self, query: Query) -> Iterator[Connection]:
        session = self._session(query)
        if not session.lock.acquire(blocking=False):
            message = f"Session {query.session_id} is locked by a concurrent client"
            raise refused(SESSION_IS_LOCKED, "SESSION_IS_LOCKED", message)
        try:
            with applied(session.connection, query):
                yield session.connection
        finally:
            session.expires = time.monotonic() + query.session_timeout_s
            session.lock.release()

    def _session(self, query: Query) -> Session:
        now = time.monotonic()
        with self._lock:
            for name in [n for n, s in self._sessions.items() if s.expires < now and not s.lock.locked()]:
                self._sessions.pop(name).connection.raw.close()
            session = self._sessions.get(query.session_id)
            if session is None:
                if query.session_check:
                    message = f"Session not found: {query.session_id}"
                    raise refused(SESSION_NOT_FOUND, "SESSION_NOT_FOUND", message)
                if len(self._sessions) >= MAX_SESSIONS:
                    message = f"Too many sessions: {MAX_SESSIONS}"
                    raise refused(TOO_MANY_SIMULTANEOUS_QUERIES, "TOO_MANY_SIMULTANEOUS_QUERIES", message)
                session = Session(Connection(self._path), now + query.session_timeout_s)
                self._sessions[query.session_id] = session
            session.expires = now + query.session_timeout_s
            return session

    def _borrow(self) -> Connection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return Connection(self._path)

    def _give_back(self, connection: Connection) -> None:
        with self._lock:
            if not connection.tainted and len(self._idle) < POOL_SIZE:
                self._idle.append(connection)
                return
        connection.raw.close()


@contextmanager
def applied(connection: Connection, query: Query) -> Iterator[None]:
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


def prepare_readonly(connection: Connection, query: Query) -> None:
    """Readonly 1 refuses every change of a setting; readonly 2 takes the request's and then closes the door.

    The engine's own readonly 2 would let a reader reach files and other machines by table functions, its 1
    does not. A query without parentheses calls no function and may stay at 2: clients read in
    ``system.settings`` what they may set, and would take everything for fixed otherwise.
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
        connection.run(f"SET readonly = {1 if b'(' in query.statement.sql else 2}")


def _use(connection: Connection, database: str) -> None:
    if database and database != connection.database:
        connection.run(f"USE {_quoted(database)}")
        connection.database = database


def _set_clause(settings: Mapping[str, str]) -> str:
    for name in settings:
        if not _NAME.match(name):
            raise refused(115, "UNKNOWN_SETTING", f"Unknown setting '{name}'")
    return "SET " + ", ".join(f"{name} = {_literal(value)}" for name, value in settings.items())


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
