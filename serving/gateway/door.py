"""The checks that every request passes, by whatever protocol: who asks, may they, do they ask too much.

    caller = await door.known(headers, network)
    await door.let_in(caller, Scope.PREDICT)

The guard asks for HTTP. A gRPC interceptor asks the same: `headers` is a call's metadata as
`[(name.encode(), value.encode()), …]`, and of a `Refused` 401 is UNAUTHENTICATED, 403 PERMISSION_DENIED, 429
RESOURCE_EXHAUSTED and 503 UNAVAILABLE.
"""

import time
from collections.abc import Callable, Iterable

from infra.runtime import metrics
from schemas.gateway import Limits
from serving.gateway.access import Access, permitted
from serving.gateway.buckets import Local
from serving.gateway.identity import Identity
from serving.gateway.limits import Limiter
from serving.gateway.load import Load
from serving.gateway.problems import Refused
from serving.gateway.scopes import Scope


class Door:
    """One gateway's door, for all its protocols."""

    def __init__(
        self,
        access: Access,
        limiter: Limiter,
        load: Load,
        limits: Callable[[], Limits],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = access
        self._limiter = limiter
        self._load = load
        self._limits = limits
        self._failures = Local()
        self._monotonic = monotonic

    async def known(self, headers: Iterable[tuple[bytes, bytes]], network: str) -> Identity:
        """Return who asks. `network` is the caller's, masked: one whose logins fail too often is slowed down.

        Raises:
            Refused: 401, 403 (a stranger's page at an open gateway), 429, or 503 (no keys to check with).
        """
        try:
            return await self._access.authenticate(headers)
        except Refused as error:
            metrics.count_refused("unknown")
            if error.status == 401:
                self._slow_down(network)
            raise

    async def let_in(self, caller: Identity, needed: Scope | None) -> None:
        """Let a known caller's request through, or say why not.

        Raises:
            Refused: 403 without the scope, 429 beyond the caller's rate, 503 for a gateway that is too busy.
        """
        try:
            permitted(caller, needed)
        except Refused:
            metrics.count_refused("scope")
            raise
        self._load.check(needed)
        await self._limiter.take(caller)

    def _slow_down(self, network: str) -> None:
        """Count a failed login: guesses, or a client gone wrong.

        Raises:
            Refused: 429.
        """
        rate = self._limits().failures_per_s
        taken = self._failures.take_now(network, rate, max(1, int(5 * rate)), 1, self._monotonic())
        if not taken.granted:
            metrics.count_refused("failures")
            raise Refused(429, "too many failed logins", retry_after_s=taken.wait_s, reason="failures")
