"""The gate behind the edge: a request in, on to the application if its caller may, else a refusal out.

Plain ASGI, since it runs for every event.
"""

from typing import Final

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Asgi

from serving.gateway.addresses import masked
from serving.gateway.door import Door
from serving.gateway.identity import UNKNOWN
from serving.gateway.problems import Refused, problem
from serving.gateway.scopes import Need, Table

_POLICY_VIOLATION: Final = 1008
_INFERENCE: Final = "/v2"


class Guard:
    """Wraps the application. The caller is `scope["state"]["identity"]`, the route `…["need"]`."""

    def __init__(self, app: ASGIApp, door: Door, *, table: Table | None = None) -> None:
        self._app = app
        self._door = door
        self._table = table or Table()

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
                if scope["path"].startswith(_INFERENCE):
                    error.extra["error"] = error.detail  # where the Open Inference Protocol's clients look
                await problem(error, state["request_id"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _admit(self, scope: Asgi, need: Need | None) -> None:
        """Let the request through, or raise why not; a stranger does not hear which paths there are.

        Raises:
            Refused: 401, 403, 404, 429 or 503.
        """
        state, client = scope["state"], scope.get("client")
        state["identity"] = UNKNOWN
        network = masked(client[0]) if client else ""
        caller = state["identity"] = await self._door.known(scope["headers"], network)
        if need is None:
            raise Refused(404, "Not Found")
        await self._door.let_in(caller, need.scope)
