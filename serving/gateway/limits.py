"""What a caller may ask for: a caller in, nothing out, or a refusal (429) that says when to come again.

Tokens are leased: about a twentieth of a second's at once, spent here within a second. So limits hold for all
gateways together, to that much, and most requests wait for nothing. While Redis is away each gateway counts
for itself, which is said once; what was spent of a day's quota meanwhile is added when it is back.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from redis.exceptions import RedisError

from infra.runtime import metrics
from infra.runtime.clock import Clock
from infra.runtime.log import get_logger
from schemas.gateway import Limits
from serving.gateway.breaker import Away, Breaker
from serving.gateway.buckets import Counters, Local, Taken
from serving.gateway.identity import Identity
from serving.gateway.problems import Refused

T = TypeVar("T")

_LEASE_S: Final = 1.0
_CALLERS: Final = 10_000
_log = get_logger(__name__)


@dataclass
class _Lease:
    """What a caller may still spend here: tokens until a moment, events of a day; or not before a moment."""

    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    bucket: tuple[float, int] = (0.0, 0)
    tokens: int = 0
    until_s: float = 0.0
    refused_until_s: float = 0.0
    day: str = ""
    events: int = 0


class Limiter:
    """Counts requests and events by caller. Without `shared` it counts in this process alone."""

    def __init__(
        self,
        limits: Callable[[], Limits],
        clock: Clock,
        *,
        shared: Counters | None = None,
        breaker: Breaker | None = None,
        local: Local | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._shared = shared
        self._breaker = breaker
        self._local = local or Local()
        self._monotonic = monotonic
        self._leases: OrderedDict[str, _Lease] = OrderedDict()
        self._apart = False

    async def take(self, identity: Identity) -> None:
        """Count one request.

        Raises:
            Refused: 429; the caller asks faster than they may.
        """
        limits = self._limits()
        rate = limits.requests_per_s if identity.requests_per_s is None else identity.requests_per_s
        if not rate:
            return
        burst = identity.burst or limits.burst
        lease = self._lease(identity.name)
        if not self._spent(lease, (rate, burst)):
            async with lease.asking:
                if not self._spent(lease, (rate, burst)):  # while it waited another request may have leased
                    await self._renew(identity.name, lease, rate, burst)

    async def charge(self, identity: Identity, events: int) -> None:
        """Count events of the day, before they are published.

        Raises:
            Refused: 429; the day's quota does not hold them. It begins anew at midnight, UTC.
        """
        quota = self._limits().events_per_day if identity.events_per_day is None else identity.events_per_day
        if not quota or not events:
            return
        now = self._clock.now().astimezone(UTC)
        day = f"{now:%Y%m%d}"
        lease = self._lease(identity.name)
        async with lease.asking:
            if lease.day != day:
                lease.day, lease.events = day, 0
            if lease.events < events:
                need = events - lease.events
                want = max(need, quota // 1000)
                lease.events += await self._count(
                    lambda counters: counters.spend(identity.name, day, quota, need, want)
                )
            if lease.events < events:
                metrics.count_refused("quota")
                midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)
                raise Refused(
                    429,
                    f"the quota of {quota} events a day does not hold {events} more; it ends at 0:00 UTC",
                    retry_after_s=(midnight - now).total_seconds(),
                    reason="quota",
                )
            lease.events -= events

    async def restore(self, identity: Identity, events: int) -> None:
        """Give back events that were charged and then not published."""
        lease = self._leases.get(identity.name)
        if lease is not None and lease.day:
            async with lease.asking:
                lease.events += events

    def _lease(self, name: str) -> _Lease:
        lease = self._leases.get(name)
        if lease is None:
            lease = self._leases[name] = _Lease()
            if len(self._leases) > _CALLERS:
                self._leases.popitem(last=False)
        return lease

    def _spent(self, lease: _Lease, bucket: tuple[float, int]) -> bool:
        """Spend one token of the lease; False if there is none left, or the limits have changed.

        Raises:
            Refused: 429; there cannot be a token yet.
        """
        now_s = self._monotonic()
        if lease.bucket != bucket:
            return False
        if now_s < lease.refused_until_s:
            raise _too_fast(bucket, lease.refused_until_s - now_s)
        if lease.tokens < 1 or now_s >= lease.until_s:
            return False
        lease.tokens -= 1
        return True

    async def _renew(self, name: str, lease: _Lease, rate: float, burst: int) -> None:
        want = max(1, min(int(rate / 20), burst // 4))
        now_s = self._monotonic()
        taken: Taken = await self._count(lambda counters: counters.take(name, rate, burst, want, now_s))
        lease.bucket = (rate, burst)
        lease.until_s = self._monotonic() + _LEASE_S
        lease.tokens = taken.granted - 1
        lease.refused_until_s = 0.0
        if taken.granted < 1:
            lease.refused_until_s = now_s + taken.wait_s
            raise _too_fast(lease.bucket, taken.wait_s)

    async def _count(self, ask: Callable[[Counters], Awaitable[T]]) -> T:
        """Ask Redis, or this process's own counters while it is away."""
        if self._shared is None or self._breaker is None:
            return await ask(self._local)
        try:
            with self._breaker.call():
                answer = await ask(self._shared)
        except (RedisError, OSError, TimeoutError, Away) as error:
            if not self._apart:
                self._apart = True
                _log.warning("limits.counted_apart", error=str(error) or type(error).__name__)
            return await ask(self._local)
        if self._apart:
            self._apart = False
            _log.info("limits.counted_together")
        return answer


def _too_fast(bucket: tuple[float, int], wait_s: float) -> Refused:
    metrics.count_refused("rate")
    rate, burst = bucket
    return Refused(
        429,
        f"more than {rate:g} requests a second (and {burst} at once)",
        retry_after_s=wait_s,
        reason="rate",
    )
