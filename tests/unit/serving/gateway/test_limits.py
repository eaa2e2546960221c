"""Rates and quotas by caller: how much passes, when more does, and what happens while Redis is away."""

import math
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.exceptions import ConnectionError as RedisAway
from structlog.testing import capture_logs

from infra.runtime.clock import ManualClock
from schemas.gateway import Breakers, Limits
from serving.gateway.breaker import Breaker
from serving.gateway.buckets import Local, Taken
from serving.gateway.identity import Identity
from serving.gateway.limits import Limiter
from serving.gateway.problems import Refused

EVENING = datetime(2026, 3, 14, 23, 0, tzinfo=UTC)
SHOP, BANK = Identity("key", "shop"), Identity("key", "bank")


class Watch:
    """Monotonic time that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Wavering(Local):
    """Counters for all gateways that may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.asked = 0

    async def take(self, name: str, rate: float, burst: int, want: int, now_s: float) -> Taken:
        self._ask()
        return await super().take(name, rate, burst, want, now_s)

    async def spend(self, name: str, day: str, limit: int, need: int, want: int) -> int:
        self._ask()
        return await super().spend(name, day, limit, need, want)

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise RedisAway("refused")


def limiter(limits: Callable[[], Limits], watch: Watch, shared: Wavering | None = None) -> Limiter:
    """Return a limiter that starts in the evening."""
    breaker = Breaker(
        "redis-test", lambda: Breakers(failures=1, pause=2), failures=(RedisAway,), monotonic=watch
    )
    return Limiter(limits, ManualClock(EVENING), shared=shared, breaker=breaker, monotonic=watch)


async def passed(limiter: Limiter, caller: Identity, requests: int) -> int:
    """Return how many of so many requests at once pass."""
    count = 0
    for _ in range(requests):
        with suppress(Refused):
            await limiter.take(caller)
            count += 1
    return count


async def test_a_burst_passes_and_then_the_rate():
    """`burst` requests at once, then `rate` a second; another caller has a bucket of their own."""
    watch = Watch()
    of = limiter(lambda: Limits(requests_per_s=5, burst=10), watch)
    assert await passed(of, SHOP, 50) == 10
    assert await passed(of, BANK, 50) == 10
    watch.now_s += 1.0
    assert await passed(of, SHOP, 50) == 5
    with pytest.raises(Refused) as caught:
        await of.take(SHOP)
    assert caught.value.headers["retry-after"] == "1"


@settings(deadline=None)
@given(rate=st.integers(1, 3000), burst=st.integers(1, 500), steps=st.lists(st.floats(0, 0.5), max_size=20))
async def test_leases_let_no_more_through_than_the_bucket(rate: int, burst: int, steps: list[float]):
    """However requests come, at most `burst + rate × time` pass."""
    watch = Watch()
    of = limiter(lambda: Limits(requests_per_s=rate, burst=burst), watch, Wavering())
    count = await passed(of, SHOP, 2 * burst)
    for step in steps:
        watch.now_s += step
        count += await passed(of, SHOP, burst)
    assert count <= burst + math.ceil(rate * sum(steps)) + 1


async def test_most_requests_ask_nobody():
    """Of a fast caller's requests one in many goes to Redis; of a refused one's none does."""
    watch, shared = Watch(), Wavering()
    of = limiter(lambda: Limits(requests_per_s=1000, burst=1000), watch, shared)
    assert await passed(of, SHOP, 1000) == 1000
    assert shared.asked <= 1000 / 50
    asked = shared.asked
    assert await passed(of, SHOP, 100) == 0
    assert shared.asked <= asked + 1


async def test_a_key_may_have_limits_of_its_own():
    """They count instead of the gateway's; 0 is no limit."""
    of = limiter(lambda: Limits(requests_per_s=5, burst=10), Watch())
    assert await passed(of, Identity("key", "small", requests_per_s=1, burst=2), 50) == 2
    assert await passed(of, Identity("key", "free", requests_per_s=0), 50) == 50


async def test_changed_limits_hold_at_once():
    """A leased token of the old rate is not spent under the new one."""
    limits = [Limits(requests_per_s=1000, burst=1000)]
    of = limiter(lambda: limits[0], Watch())
    await of.take(SHOP)
    limits[0] = Limits(requests_per_s=1, burst=1)
    assert await passed(of, SHOP, 10) == 1


async def test_a_quota_ends_at_midnight():
    """Events beyond the day's quota are refused whole, until the next day begins."""
    clock, watch = ManualClock(EVENING), Watch()
    of = Limiter(lambda: Limits(events_per_day=5000), clock, monotonic=watch)
    for _ in range(9):
        await of.charge(SHOP, 500)
    with pytest.raises(Refused) as caught:
        await of.charge(SHOP, 501)
    assert (caught.value.status, caught.value.headers["retry-after"]) == (429, "3600")
    await of.charge(SHOP, 500)
    with pytest.raises(Refused):
        await of.charge(SHOP, 1)
    clock.advance(3600)
    await of.charge(SHOP, 5000)


async def test_what_was_not_published_is_not_counted():
    """Events that Kafka did not take are given back to the caller's day."""
    of = limiter(lambda: Limits(events_per_day=10), Watch(), Wavering())
    await of.charge(SHOP, 10)
    await of.restore(SHOP, 10)
    await of.restore(BANK, 10)
    await of.charge(SHOP, 10)
    with pytest.raises(Refused):
        await of.charge(SHOP, 1)


async def test_without_redis_each_gateway_counts_for_itself():
    """The change is said once each way, and limits hold meanwhile."""
    watch, shared = Watch(), Wavering()
    shared.away = True
    of = limiter(lambda: Limits(requests_per_s=1, burst=10), watch, shared)
    with capture_logs() as logs:
        assert await passed(of, SHOP, 50) == 10
        watch.now_s += 3
        shared.away = False
        await of.take(BANK)
    events = [entry["event"] for entry in logs]
    assert events.count("limits.counted_apart") == events.count("limits.counted_together") == 1
