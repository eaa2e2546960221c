"""One HTTP request as ClickHouse reads it: consumes URL, headers and body, produces a ``Query``."""

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from infra.local.warehouse.engine import too_large
from infra.local.warehouse.errors import (
    AUTHENTICATION_FAILED,
    BAD_ARGUMENTS,
    NOT_IMPLEMENTED,
    READONLY,
    refused,
)
from infra.local.warehouse.query import Query
from infra.local.warehouse.statement import Statement, read_statement
from infra.local.warehouse.users import User
from infra.local.warehouse.wire import decoded

# Parameters of the HTTP interface itself; every other one is a setting of the query.
_OWN = frozenset(
    {
        "query",
        "database",
        "user",
        "password",
        "query_id",
        "quota_key",
        "role",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "default_format",
        "compress",
        "decompress",
        "buffer_size",
        "wait_end_of_query",
        "stacktrace",
        "client_protocol_version",
        "enable_http_compression",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "http_zlib_compression_level",
        "http_response_buffer_size",
    }
)
MAX_SQL_BYTES = 64 << 20
_HEAD_BYTES = 64 << 10
MAX_SESSION_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Asked:
    """What a request said besides its body. Names in ``headers`` are in lower case."""

    method: str
    params: Mapping[str, str]
    headers: Mapping[str, str]

    def flag(self, name: str, default: str = "0") -> bool:
        """Whether a parameter is switched on."""
        return self.params.get(name, default).lower() in ("1", "true")


def credentials(asked: Asked) -> tuple[str, str]:
    """User and password: from the X-ClickHouse headers, Basic authorization or the URL, else ``default``.

    Raises:
        EngineError: code 516, the Authorization header cannot be read.
    """
    headers, params = asked.headers, asked.params
    if "x-clickhouse-user" in headers or "x-clickhouse-key" in headers:
        return headers.get("x-clickhouse-user", "default"), headers.get("x-clickhouse-key", "")
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            message = "Invalid HTTP Authorization header"
            raise refused(AUTHENTICATION_FAILED, "AUTHENTICATION_FAILED", message) from None
        return name or "default", password
    if scheme:
        message = f"Authorization scheme {scheme!r} is not supported"
        raise refused(AUTHENTICATION_FAILED, "AUTHENTICATION_FAILED", message)
    return params.get("user") or "default", params.get("password", "")


def read_query(asked: Asked, user: User, body: Iterable[bytes]) -> Query:
    """Read the query out of the URL and the body; an INSERT's data stay in the body until needed.

    Raises:
        EngineError: the request breaks a rule of the interface.
    """
    for name in ("compress", "decompress"):
        if asked.flag(name):
            message = (
                f"{name}=1 (ClickHouse's block framing) is not supported here: use Content-Encoding instead"
            )
            raise refused(NOT_IMPLEMENTED, "NOT_IMPLEMENTED", message)
    pieces = decoded(body, asked.headers.get("content-encoding", ""))
    statement, rest = _split(asked.params.get("query", "").encode(), iter(pieces))
    settings = {k: v for k, v in asked.params.items() if k not in _OWN and not k.startswith("param_")}
    readonly = _readonly(asked, user, settings, statement)
    if readonly == 2 and statement.settings is not None:
        statement, own = _take_settings(statement)
        settings.update(own)
    elif not readonly:
        settings.pop("readonly", None)
    return Query(
        statement=statement,
        format=asked.params.get("default_format")
        or asked.headers.get("x-clickhouse-format")
        or "TabSeparated",
        params={k.removeprefix("param_"): v for k, v in asked.params.items() if k.startswith("param_")},
        settings=settings,
        database=asked.params.get("database") or asked.headers.get("x-clickhouse-database") or "",
        readonly=readonly,
        session_id=asked.params.get("session_id", ""),
        session_timeout_s=_session_timeout_s(asked.params.get("session_timeout", "60")),
        session_check=asked.flag("session_check"),
        protocol_version=_protocol_version(asked.params.get("client_protocol_version") or "0"),
        pieces=rest,
    )


def _split(url_query: bytes, pieces: Iterator[bytes]) -> tuple[Statement, Iterable[bytes]]:
    """As ClickHouse does, read the URL's query, a line break and the body as one text."""
    text = url_query.rstrip() + b"\n" if url_query else b""
    for piece in pieces:
        text += piece
        if len(text) >= _HEAD_BYTES:
            break
    statement = read_statement(text)
    if statement.insert_format is not None:
        data = text[statement.data_start :]
        return statement, chain([data] if data else [], pieces)
    longer = False
    for piece in pieces:
        longer = True
        text += piece
        if len(text) > MAX_SQL_BYTES:
            raise too_large(MAX_SQL_BYTES)
    return (read_statement(text) if longer else statement), ()


def _readonly(asked: Asked, user: User, settings: Mapping[str, str], statement: Statement) -> int:
    """The readonly level that holds for a request: its user's, or what it asks of itself."""
    wanted = settings.get("readonly", "0")
    if wanted not in ("0", "1", "2"):
        raise refused(BAD_ARGUMENTS, "BAD_ARGUMENTS", f"Setting readonly cannot be {wanted!r}")
    if user.readonly and "readonly" in settings and int(wanted) != user.readonly:
        raise refused(READONLY, "READONLY", "Cannot modify 'readonly' setting in readonly mode.")
    writes = statement.insert_format is not None or statement.verb not in (
        ("", "SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "USE", "SET", "CHECK")
    )
    if asked.method == "GET" and writes and not user.readonly:
        message = (
            "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
        )
        raise refused(READONLY, "READONLY", message + "You should use method POST for modifying queries.")
    return user.readonly or int(wanted)


def _take_settings(statement: Statement) -> tuple[Statement, dict[str, str]]:
    """Take the SETTINGS clause out of a reader's query, to be applied before changes are closed off."""
    start, end = statement.settings or (0, 0)
    settings = {}
    for part in statement.sql[start + len(b"SETTINGS") : end].decode(errors="replace").split(","):
        name, _, value = part.partition("=")
        settings[name.strip()] = value.strip().strip("'")
    sql = statement.sql[:start] + statement.sql[end:]
    if "readonly" in settings:
        raise refused(READONLY, "READONLY", "Cannot modify 'readonly' setting in readonly mode.")
    return Statement(statement.verb, sql, statement.insert_format, 0, statement.outside), settings


def _protocol_version(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise refused(BAD_ARGUMENTS, "BAD_ARGUMENTS", f"Invalid client_protocol_version: '{text}'")
    return int(text)


def _session_timeout_s(text: str) -> float:
    try:
        timeout_s = float(text)
    except ValueError:
        raise refused(BAD_ARGUMENTS, "BAD_ARGUMENTS", f"Invalid session timeout: '{text}'") from None
    if not 0 < timeout_s <= MAX_SESSION_TIMEOUT_S:
        message = f"Session timeout '{text}' is larger than max_session_timeout: {MAX_SESSION_TIMEOUT_S:.0f}"
        raise refused(BAD_ARGUMENTS, "BAD_ARGUMENTS", message)
    return timeout_s
