"""The board: publishes the levels of every stream to Redis about once a second, for whoever wants to look."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from infra.runtime.log import get_logger
from infra.runtime.settings import Settings
from streams.drift.levels import TTL_S, StreamLevels, decode_levels, level_key

_log = get_logger(__name__)
_EVERY_S: Final = 1.0
_TIMEOUT_S: Final = 2.0


def connect(settings: Settings) -> "Redis":
    """Return a client of the board's Redis that gives up quickly."""
    client: Redis = Redis.from_url(
        settings.endpoints.redis, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
    )
    return client


async def publish_levels(settings: Settings, levels: Callable[[], Iterable[StreamLevels]]) -> None:
    """Publish until cancelled. Redis being away stops nothing; it is said once."""
    client = connect(settings)
    away = False
    try:
        while True:
            try:
                for level in levels():
                    key = level_key(settings.config.topic_prefix, level.stream)
                    await client.set(key, msgspec.json.encode(level), ex=TTL_S)
                away = False
            except (RedisError, OSError) as error:
                if not away:
                    _log.warning("drift_board.unreachable", error=type(error).__name__)
                away = True
            await asyncio.sleep(_EVERY_S)
    finally:
        await client.aclose()


async def read_levels(settings: Settings) -> list[StreamLevels]:
    """Return the present levels of the configured streams, of those that are watched at all.

    Raises:
        RedisError: Redis does not answer.
    """
    client = connect(settings)
    try:
        keys = [level_key(settings.config.topic_prefix, name) for name in settings.config.streams]
        values = await client.mget(keys)
    finally:
        await client.aclose()
    return [decode_levels(value) for value in values if value is not None]
