"""Counters of what callers may still do: in this process, or for all gateways together in Redis.

A token bucket (Turner 1986) holds `burst` tokens and gains `rate` a second; a quota holds `limit` for a UTC
day. Both grant several at once, as many as are there: a gateway takes some in advance and spends them itself,
so that a request does not wait for Redis. Redis' side is Lua, which Redis runs as one step.
"""

from collections import OrderedDict
from typing import Any, Final, NamedTuple, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

_TAKE: Final = """
local at = redis.call('TIME')
local now = at[1] + at[2] / 1000000
local rate, burst, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = burst
if kept[1] then
  tokens = math.min(burst, tonumber(kept[1]) + math.max(0, now - tonumber(kept[2])) * rate)
end
local granted = math.min(want, math.floor(tokens))
local left, stamp = string.format('%.6f', tokens - granted), string.format('%.6f', now)
redis.call('HSET', KEYS[1], 'tokens', left, 'at', stamp)
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
local wait = 0
if granted == 0 then wait = (1 - tokens) / rate end
return {granted, string.format('%.6f', wait)}
"""
_SPEND: Final = """
local need, want, limit, owed = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local used = tonumber(redis.call('GET', KEYS[1]) or '0') + owed
local granted = math.max(0, math.min(want, limit - used))
if granted < need then granted = 0 end
redis.call('SET', KEYS[1], used + granted, 'EX', ARGV[5])
return granted
"""
_DAY_S: Final = 86_400


class Taken(NamedTuple):
    """How many tokens were granted; with none, after how many seconds there is one."""

    granted: int
    wait_s: float


class Counters(Protocol):
    """Where tokens and quotas are counted."""

    async def take(self, name: str, rate: float, burst: int, want: int, now_s: float) -> Taken:
        """Take up to `want` tokens of a bucket."""
        ...

    async def spend(self, name: str, day: str, limit: int, need: int, want: int) -> int:
        """Take from `need` to `want` of a day's quota; 0 if `need` is more than is left."""
        ...


class Local:
    """Counters of this process, for at most `size` callers; those not seen for longest are forgotten."""

    def __init__(self, size: int = 10_000) -> None:
        self._size = size
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._used: OrderedDict[tuple[str, str], int] = OrderedDict()

    async def take(self, name: str, rate: float, burst: int, want: int, now_s: float) -> Taken:
        return self.take_now(name, rate, burst, want, now_s)

    def take_now(self, name: str, rate: float, burst: int, want: int, now_s: float) -> Taken:
        """Take up to `want` tokens; `now_s` is monotonic time."""
        tokens, at_s = self._buckets.pop(name, (float(burst), now_s))
        tokens = min(float(burst), tokens + max(0.0, now_s - at_s) * rate)
        granted = min(want, int(tokens))
        self._buckets[name] = tokens - granted, now_s
        if len(self._buckets) > self._size:
            self._buckets.popitem(last=False)
        return Taken(granted, 0.0 if granted else (1.0 - tokens) / rate)

    async def spend(self, name: str, day: str, limit: int, need: int, want: int) -> int:
        used = self._used.pop((name, day), 0)
        granted = max(0, min(want, limit - used))
        if granted < need:
            granted = 0
        self._used[name, day] = used + granted
        if len(self._used) > self._size:
            self._used.popitem(last=False)
        return granted

    def settle(self, name: str, day: str) -> int:
        """Return how much of a day's quota was used here and forget it: it is counted elsewhere now."""
        return self._used.pop((name, day), 0)


class Shared:
    """Counters in Redis, for all gateways that use it; `owed` is what was spent while it was away."""

    def __init__(self, url: str, prefix: str, owed: Local, *, patience_s: float = 0.25) -> None:
        self._redis = Redis.from_url(
            url,
            socket_timeout=patience_s,
            socket_connect_timeout=patience_s,
            retry=Retry(NoBackoff(), 0),
            max_connections=64,
        )
        self._prefix = f"{prefix}headrace/limit/"
        self._owed = owed
        self._take: Any = self._redis.register_script(_TAKE)
        self._spend: Any = self._redis.register_script(_SPEND)

    async def take(self, name: str, rate: float, burst: int, want: int, now_s: float) -> Taken:
        """Take tokens by Redis' own clock.

        Raises:
            RedisError: Redis does not answer in time.
        """
        granted, wait_s = await self._take(keys=[f"{self._prefix}{name}"], args=[rate, burst, want])
        return Taken(int(granted), float(wait_s))

    async def spend(self, name: str, day: str, limit: int, need: int, want: int) -> int:
        """Take of a day's quota.

        Raises:
            RedisError: as `take`.
        """
        owed = self._owed.settle(name, day)
        try:
            key = f"{self._prefix}{name}/{day}"
            granted = await self._spend(keys=[key], args=[need, want, limit, owed, 2 * _DAY_S])
        except BaseException:
            await self._owed.spend(name, day, owed, owed, owed)  # it is still owed
            raise
        return int(granted)

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()
