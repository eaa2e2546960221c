"""The outermost layer: every HTTP request in, an id and security headers on its answer, log and audit out.

Plain ASGI, since it runs for every event.
"""

import itertools
import logging
import re
import secrets
import time
from typing import TYPE_CHECKING, Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.runtime import metrics
from infra.runtime.audit import Trail
from infra.runtime.log import get_logger
from serving.gateway.addresses import masked
from serving.gateway.identity import UNKNOWN, Identity
from serving.gateway.options import AccessLog
from serving.gateway.problems import Refused, problem
from serving.gateway.scopes import CHANGING, Need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_NAME: Final = "serving.gateway.access"
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO}
_log = get_logger(_NAME)
_GIVEN_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# An id has to be unique, and may be guessed: a draw for each request would cost a system call.
_PROCESS: Final = secrets.token_hex(4)
_NUMBERS: Final = itertools.count()
_SECURITY: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
]


class Edge:
    """Wraps the application. Bodies are never logged, and of a client's address only its network."""

    def __init__(self, app: ASGIApp, access_log: AccessLog, trail: Trail | None = None) -> None:
        self._app = app
        self._access_log = access_log
        self._trail = trail
        self._served: Callable[..., None] | None = None
        self.relevel()

    def relevel(self) -> None:
        """Ask again whether served requests are logged, after the log level has changed.

        Asked in advance: structlog builds a whole line before the standard logger drops it.
        """
        level = self._access_log
        wanted = level != "off" and logging.getLogger(_NAME).isEnabledFor(_LEVELS[level])
        self._served = getattr(_log, level) if wanted else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = request_id_of(scope["headers"])
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
            self._note(scope, request_id, 500)
            return
        metrics.observe_request(scope["path"], scope["method"], status, time.perf_counter() - started)
        if status >= 500:
            _log.warning("request.unserved", **_fields(scope, request_id, status, started))
        elif status >= 400:
            _log.info("request.refused", **_fields(scope, request_id, status, started))
        elif self._served is not None:
            self._served("request.served", **_fields(scope, request_id, status, started))
        self._note(scope, request_id, status)

    def _note(self, scope: Scope, request_id: str, status: int) -> None:
        """Put the request into the audit, if it belongs there; probes, which anybody may ask, do not."""
        if self._trail is None:
            return
        state = scope["state"]
        need: Need | None = state.get("need")
        if need is not None and need.scope is None:
            return
        if status < 400 and (need is None or need.scope not in CHANGING):
            return
        caller: Identity = state.get("identity", UNKNOWN)
        client = scope.get("client")
        method = scope["method"] if scope["method"] in metrics.METHODS else "other"
        action = f"{method} {need.route if need is not None else 'other'}"
        address = masked(client[0]) if client else ""
        if status < 400:
            self._trail.done(caller.audited, action, status=status, request_id=request_id, address=address)
        else:
            detail = state.get("refusal", "")
            self._trail.refused(
                caller.audited, action, status=status, request_id=request_id, address=address, detail=detail
            )


def request_id_of(headers: "Iterable[tuple[bytes, bytes]]") -> str:
    """Take over the caller's id when it is harmless in a log, else make one."""
    for name, value in headers:
        if name == b"x-request-id" and _GIVEN_ID.fullmatch(value):
            return bytes(value).decode()
    return f"{_PROCESS}{next(_NUMBERS):08x}"


def _fields(scope: Scope, request_id: str, status: int, started: float) -> dict[str, str | int | float]:
    client = scope.get("client")
    caller: Identity = scope["state"].get("identity", UNKNOWN)
    return {
        "request_id": request_id,
        "method": scope["method"],
        "path": scope["path"][:200],
        "status": status,
        "ms": round((time.perf_counter() - started) * 1000, 2),
        "client": masked(client[0]) if client else "",
        "who": caller.audited,
    }
