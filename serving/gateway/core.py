"""What the gateway's endpoints share: settings, limits, the way to Kafka and the way to ClickHouse."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from infra.runtime.clock import Clock
from infra.runtime.settings import Settings
from infra.runtime.warehouse import Warehouse
from schemas.errors import Retryable
from schemas.gateway import Limits
from schemas.record import Coordinates, Outgoing
from serving.gateway.body import Overdue, read_body
from serving.gateway.breaker import Away
from serving.gateway.identity import ANYBODY, Identity
from serving.gateway.inference.engine import Inference
from serving.gateway.judge import Judge
from serving.gateway.microbatch import MicroBatcher, Unsent
from serving.gateway.open_streams import Streams
from serving.gateway.options import Options
from serving.gateway.problems import Refused
from serving.gateway.shield import Shield


class Lookup:
    """ClickHouse, connected to when first asked: it may start after the gateway."""

    def __init__(self, endpoint: str, database: str) -> None:
        self._endpoint = endpoint
        self._database = database
        self._warehouse: Warehouse | None = None
        self._opening = asyncio.Lock()

    async def warehouse(self) -> Warehouse:
        """Return the connection.

        Raises:
            Retryable: ClickHouse does not answer.
        """
        async with self._opening:
            if self._warehouse is None:
                self._warehouse = await Warehouse.open(self._endpoint, self._database)
            return self._warehouse

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._warehouse is not None:
            await self._warehouse.close()
            self._warehouse = None


@dataclass(frozen=True)
class Gateway:
    """One gateway's parts, made once at its start."""

    settings: Settings
    options: Options
    clock: Clock
    judge: Judge
    batcher: MicroBatcher
    lookup: Lookup
    shield: Shield
    inference: Inference
    streams: Streams = field(default_factory=Streams)
    overdue: Overdue = field(default_factory=Overdue)

    @property
    def limits(self) -> Limits:
        """Return what is taken at this moment; it may change while the gateway runs."""
        return self.shield.current.limits

    async def publish(self, records: Sequence[Outgoing], caller: Identity = ANYBODY) -> list[Coordinates]:
        """Produce a caller's records and return their coordinates after the acknowledgement.

        Raises:
            Refused: 429 where the caller's quota does not hold them; 503 where the records may or may not be
                in the log: sending them again is safe.
        """
        self.shield.load.check_room(len(records))
        await self.shield.limiter.charge(caller, len(records))
        within_s = self.limits.publish_timeout
        try:
            with self.shield.kafka.call():
                async with asyncio.timeout(within_s):
                    return await self.batcher.publish(records)
        except (Retryable, Unsent, TimeoutError) as error:
            await self.shield.limiter.restore(caller, len(records))
            detail = str(error) or f"Kafka did not acknowledge within {within_s:g} s"
            again_in_s = error.again_in_s if isinstance(error, Away) else None
            raise Refused(
                503, f"{detail}; send it again, a copy is dropped", retry_after_s=again_in_s
            ) from error

    async def query(self, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        """Ask ClickHouse.

        Raises:
            Refused: 503; it does not answer.
            WarehouseRefused: it answers that the question is wrong.
        """
        within_s = self.limits.query_timeout
        try:
            with self.shield.clickhouse.call():
                async with asyncio.timeout(within_s):
                    warehouse = await self.lookup.warehouse()
                    return await warehouse.query(sql, parameters)
        except (Retryable, TimeoutError) as error:
            again_in_s = error.again_in_s if isinstance(error, Away) else None
            raise Refused(503, "ClickHouse does not answer", retry_after_s=again_in_s) from error


def caller_of(request: Request) -> Identity:
    """Return who asks, as the guard found out."""
    caller: Identity = request.state.identity
    return caller


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that an endpoint serves for."""
    gateway: Gateway = request.app.state.gateway
    return gateway


async def body_of(request: Request) -> bytes:
    """Read a request's body within the gateway's limits.

    Raises:
        Refused: 413 too large, 408 too slow, 415 compressed, 400 broken off.
    """
    gateway = gateway_of(request)
    return await read_body(request, gateway.limits, gateway.overdue)
