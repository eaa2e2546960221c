"""`/livez`, `/readyz` and `/metrics`: whether the gateway runs and is served itself, and its figures."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable
from typing import Any, Final

import redis.asyncio
from aiokafka.client import AIOKafkaClient
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from infra.runtime.settings import Settings
from infra.runtime.warehouse import WarehouseRefused
from serving.gateway.core import Gateway, Lookup, gateway_of
from serving.gateway.problems import answer

_REMEMBER_S: Final = 1.0


async def get_live(_: Request) -> Response:
    """Answer 200 while the process serves."""
    return answer({"status": "alive"})


async def get_metrics(_: Request) -> Response:
    """Answer with the process's metrics as Prometheus reads them."""
    return Response(generate_latest(), headers={"content-type": CONTENT_TYPE_LATEST})


class Readiness:
    """`/readyz`: 200 when Kafka, Redis and ClickHouse answer, else 503 and which does not.

    An answer is kept for a second, so that many probes do not become many connections.
    """

    def __init__(self) -> None:
        self._checking = asyncio.Lock()
        self._checks: dict[str, str] = {}
        self._checked_at = float("-inf")

    async def get(self, request: Request) -> Response:
        async with self._checking:
            if time.monotonic() - self._checked_at > _REMEMBER_S:
                self._checks = await _check(gateway_of(request))
                self._checked_at = time.monotonic()
            checks = dict(self._checks)
        ready = all(outcome == "ok" for outcome in checks.values())
        return answer({"status": "ready" if ready else "not ready", "checks": checks}, 200 if ready else 503)


async def _check(gateway: Gateway) -> dict[str, str]:
    timeout_s = gateway.options.check_timeout_s
    names = ("kafka", "clickhouse", "redis")
    outcomes = await asyncio.gather(
        _outcome(_kafka(gateway.settings), timeout_s),
        _outcome(_clickhouse(gateway.lookup), timeout_s),
        _outcome(_redis(gateway.settings.endpoints.redis, timeout_s), timeout_s),
    )
    return dict(zip(names, outcomes, strict=True))


async def _outcome(check: Awaitable[Any], timeout_s: float) -> str:
    try:
        async with asyncio.timeout(timeout_s):
            await check
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    except Exception as error:  # noqa: BLE001  # whatever a client raises means: not ready
        return type(error).__name__  # without its text, which may hold addresses
    return "ok"


async def _kafka(settings: Settings) -> None:
    client = AIOKafkaClient(bootstrap_servers=settings.endpoints.kafka, client_id="headrace-gateway-check")
    try:
        await client.bootstrap()
    finally:
        await client.close()


async def _clickhouse(lookup: Lookup) -> None:
    warehouse = await lookup.warehouse()
    with contextlib.suppress(
        WarehouseRefused
    ):  # it answers; the sink creates the database at its first start
        await warehouse.query("SELECT 1")


async def _redis(url: str, timeout_s: float) -> None:
    client = redis.asyncio.from_url(  # type: ignore[no-untyped-call]  # redis types all but this
        url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s
    )
    try:
        await client.ping()
    finally:
        await client.aclose()
