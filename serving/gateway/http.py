"""HTTP/1.1 on a connection: uvicorn's httptools protocol, with bounds on a request's head.

llhttp bounds neither the size of a head nor the time in which it comes, and uvicorn leaves it at that: a
client could fill the memory with one header, or keep thousands of connections open by a byte a minute. Its
`limit_concurrency` refuses requests, without saying when to come again, and keeps their connections.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from infra.runtime import metrics

MAX_HEAD_BYTES: Final = 64 * 1024
HEAD_WITHIN_S: Final = 10.0


FULL_WITHIN_S: Final = 1.0
"""How long one connection too many may take to ask, and so to hear that it is one too many."""

_FULL: Final = b"503 Service Unavailable\r\nretry-after: 1"


class Config(uvicorn.Config):
    """How the gateway is served; `max_connections` is asked at each new one."""

    def __init__(self, app: Any, max_connections: Callable[[], int], **options: Any) -> None:
        super().__init__(app, http=Bounded, **options)
        self.max_connections = max_connections


class Bounded(HttpToolsProtocol):
    """Closes a connection whose request's head is too large (431) or too slow (408), or that is one too many.

    The last is told so (503) when it asks, not before: what a client sends to a closed socket loses it the
    answer.
    """

    max_head_bytes = MAX_HEAD_BYTES
    head_within_s = HEAD_WITHIN_S

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._one_too_many = False
        self._in_head = False
        self._begun = 0
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        if isinstance(self.config, Config) and len(self.connections) > self.config.max_connections():
            self._one_too_many = True
            metrics.count_refused("connections")
            self._timer = self.loop.call_later(FULL_WITHIN_S, self._refuse, _FULL)
            return
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._one_too_many:
            self._refuse(_FULL)
            return
        begun = self._begun
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        # The chunk in which a head begins may also hold the end of the body before it: it is not counted.
        if begun == self._begun:
            self._head_bytes += len(data)
        if self._head_bytes > self.max_head_bytes:
            self._refuse(b"431 Request Header Fields Too Large")
        elif self._timer is None:
            self._expect()

    def on_message_begin(self) -> None:
        self._in_head = True
        self._begun += 1
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._arrived()
        self._in_head = False
        super().on_headers_complete()

    def _expect(self) -> None:
        self._timer = self.loop.call_later(self.head_within_s, self._refuse, b"408 Request Timeout")

    def _arrived(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: bytes) -> None:
        self._arrived()
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
            self.transport.close()
