"""The gate behind the edge: a request in, on to the application if its caller may, else a refusal out.

In this order: does the route exist, who asks, may they, can the gateway take it, do they ask too much.
Plain ASGI, since it runs for every event.
"""

import time
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Asgi

from infra.runtime import metrics
from schemas.gateway import Limits
from serving.gateway.access import Access, permitted
from serving.gateway.addresses import masked
from serving.gateway.buckets import Local
from serving.gateway.identity import UNKNOWN
from serving.gateway.limits import Limiter
from serving.gateway.load import Load
from serving.gateway.problems import Refused, problem
from serving.gateway.scopes import Need, Table

_POLICY_VIOLATION: Final = 1008


class Guard:
    """Wraps the application. The caller is `scope["state"]["identity"]`, the route `…["need"]`."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        limiter: Limiter,
        load: Load,
        limits: Callable[[], Limits],
        *,
        table: Table | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._access = access
        self._limiter = limiter
        self._load = load
        self._limits = limits
        self._table = table or Table()
        self._failures = Local()
        self._monotonic = monotonic

    async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        need = self._table.of(scope["path"])
        state = scope["state"]
        state["need"] = need
        if need is None or need.scope is not None:
            try:
                await self._admit(scope, need)
            except Refused as error:
                state["refusal"] = error.detail
                await problem(error, state["request_id"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Asgi, need: Need | None) -> None:
        """Let the request through, or raise why not.

        Raises:
            Refused: 401, 403, 404, 429 or 503.
        """
        state = scope["state"]
        state["identity"] = UNKNOWN
        try:
            identity = state["identity"] = await self._access.authenticate(scope["headers"])
        except Refused as error:
            metrics.count_refused("unknown")
            raise self._slowed(scope, error) from error
        if need is None:
            raise Refused(404, "Not Found")
        try:
            permitted(identity, need.scope)
        except Refused:
            metrics.count_refused("scope")
            raise
        self._load.check(need.scope)
        await self._limiter.take(identity)

    def _slowed(self, scope: Asgi, error: Refused) -> Refused:
        """Answer 429 to a network whose logins fail too often: guesses, or a client gone wrong."""
        if error.status != 401:
            return error
        client = scope.get("client")
        rate = self._limits().failures_per_s
        network = masked(client[0]) if client else ""
        taken = self._failures.take_now(network, rate, max(1, int(5 * rate)), 1, self._monotonic())
        if taken.granted:
            return error
        metrics.count_refused("failures")
        return Refused(429, "too many failed logins", retry_after_s=taken.wait_s, reason="failures")
