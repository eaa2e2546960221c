"""A receiver of alerts: consumes what the drift watch posts, keeps it with the time it came."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import msgspec
from aiohttp import web

from infra.local.ports import LOOPBACK


@dataclass(frozen=True)
class Received:
    """One post: when it came (seconds since 1970) and its JSON body (None when it is no JSON)."""

    at: float
    body: Any


class WebhookReceiver:
    """An HTTP server on a free loopback port that takes any POST; a context manager."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{tail:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://{LOOPBACK}:{port}/alerts"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        payload = await request.read()
        body: Any = None
        with suppress(msgspec.DecodeError):  # kept as None: the summary then shows that it was no JSON
            body = msgspec.json.decode(payload)
        self.received.append(Received(time.time(), body))
        return web.json_response({"ok": True})
