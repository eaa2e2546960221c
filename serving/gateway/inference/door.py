"""Who may call by gRPC: a call's metadata in, the caller out or a refusal, as the guard does for HTTP.

In the guard's order: who asks, may they, can the gateway take it, do they ask too much. Refusals are audited.
"""

import secrets
from typing import Any

from infra.runtime import metrics
from serving.gateway.access import permitted
from serving.gateway.addresses import masked
from serving.gateway.identity import UNKNOWN, Identity
from serving.gateway.problems import Refused
from serving.gateway.scopes import Scope
from serving.gateway.shield import Shield


class Door:
    """Lets calls in by the same keys, tokens and limits as requests."""

    def __init__(self, shield: Shield) -> None:
        self._shield = shield

    async def identified(self, context: Any) -> Identity:
        """Return the caller, whatever they may do.

        Raises:
            Refused: 401 without a valid key or token where one is asked for.
        """
        try:
            return await self._shield.access.authenticate(_headers(context))
        except Refused:
            metrics.count_refused("unknown")
            raise

    async def admit(self, caller: Identity, needed: Scope) -> None:
        """Let a caller's call through.

        Raises:
            Refused: 403 without the scope, 429 beyond a limit, 503 where the gateway has too much to do.
        """
        try:
            permitted(caller, needed)
        except Refused:
            metrics.count_refused("scope")
            raise
        self._shield.load.check(needed)
        await self._shield.limiter.take(caller)

    def note(self, context: Any, call: str, caller: Identity | None, status: int, detail: str) -> None:
        """Put a refused or failed call into the audit."""
        given = dict(_headers(context)).get(b"x-request-id", b"").decode("ascii", "replace")
        harmless = given.replace("-", "").replace(".", "").replace("_", "").isalnum() and len(given) <= 64
        self._shield.trail.refused(
            (caller or UNKNOWN).audited,
            f"gRPC {call}",
            status=status,
            request_id=given if harmless else secrets.token_hex(8),
            address=_address(context),
            detail=detail,
        )


def _headers(context: Any) -> list[tuple[bytes, bytes]]:
    """Return a call's metadata as ASGI has headers; names are lower-case already."""
    return [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in context.invocation_metadata() or ()
    ]


def _address(context: Any) -> str:
    """Return the network of `ipv4:127.0.0.1:5000`."""
    _, _, place = str(context.peer()).partition(":")
    return masked(place.rpartition(":")[0].strip("[]"))
