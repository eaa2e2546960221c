"""The outermost layer: consumes every HTTP request, adds an id and security headers to its answer, logs it.

Plain ASGI, since it runs for every event.
"""

import ipaddress
import logging
import re
import secrets
import time
from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.runtime import metrics
from infra.runtime.log import get_logger
from serving.gateway.options import AccessLog
from serving.gateway.problems import Refused, problem

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME: Final = "serving.gateway.access"
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO}
_log = get_logger(_NAME)
_GIVEN_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_SECURITY: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
]


class Edge:
    """Wraps the application. Bodies are never logged, and of a client's address only its network."""

    def __init__(self, app: ASGIApp, access_log: AccessLog) -> None:
        self._app = app
        self._served: Callable[..., None] | None = None
        # Asked once: structlog builds a whole line before the standard logger drops it.
        if access_log != "off" and logging.getLogger(_NAME).isEnabledFor(_LEVELS[access_log]):
            self._served = getattr(_log, access_log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def dressed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                    *_SECURITY,
                ]
            await send(message)

        try:
            await self._app(scope, receive, dressed)
        except Exception:  # noqa: BLE001  # a caller gets an answer, whatever broke
            _log.exception("request.failed", **_fields(scope, request_id, 500, started))
            metrics.observe_request(scope["path"], scope["method"], 500, time.perf_counter() - started)
            if status == 0:
                failure = Refused(500, "something unexpected happened; the log has more under this id")
                await problem(failure, request_id)(scope, receive, dressed)
            return
        metrics.observe_request(scope["path"], scope["method"], status, time.perf_counter() - started)
        if status >= 500:
            _log.warning("request.unserved", **_fields(scope, request_id, status, started))
        elif status >= 400:
            _log.info("request.refused", **_fields(scope, request_id, status, started))
        elif self._served is not None:
            self._served("request.served", **_fields(scope, request_id, status, started))


def masked(address: str) -> str:
    """Keep the network of a client's address: a /24 of IPv4, a /48 of IPv6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    bits = 24 if parsed.version == 4 else 48
    return str(ipaddress.ip_network((parsed, bits), strict=False))


def _request_id(scope: Scope) -> str:
    """Take over the caller's id when it is harmless in a log, else make one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _GIVEN_ID.fullmatch(value):
            return bytes(value).decode()
    return secrets.token_hex(8)


def _fields(scope: Scope, request_id: str, status: int, started: float) -> dict[str, str | int | float]:
    client = scope.get("client")
    return {
        "request_id": request_id,
        "method": scope["method"],
        "path": scope["path"][:200],
        "status": status,
        "ms": round((time.perf_counter() - started) * 1000, 2),
        "client": masked(client[0]) if client else "",
    }
