"""What the gateway's endpoints share: settings, limits, the way to Kafka and the way to ClickHouse."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request

from infra.runtime.clock import Clock
from infra.runtime.settings import Settings
from infra.runtime.warehouse import Warehouse
from schemas.errors import Retryable
from schemas.record import Coordinates, Outgoing
from serving.gateway.inference.engine import Inference
from serving.gateway.judge import Judge
from serving.gateway.microbatch import MicroBatcher
from serving.gateway.options import Options
from serving.gateway.problems import Refused


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
    inference: Inference

    async def publish(self, records: Sequence[Outgoing]) -> list[Coordinates]:
        """Produce records and return their coordinates after the acknowledgement.

        Raises:
            Refused: 503; the records may or may not be in the log, sending them again is safe.
        """
        try:
            async with asyncio.timeout(self.options.publish_timeout_s):
                return await self.batcher.publish(records)
        except (Retryable, TimeoutError) as error:
            detail = str(error) or f"Kafka did not acknowledge within {self.options.publish_timeout_s:g} s"
            raise Refused(503, f"{detail}; send it again, a copy is dropped") from error


def gateway_of(request: Request) -> Gateway:
    """Return the gateway that an endpoint serves for."""
    gateway: Gateway = request.app.state.gateway
    return gateway


async def read_body(request: Request, options: Options) -> bytes:
    """Read a request's body within its limits of size and time.

    Raises:
        Refused: 413 too large, 408 too slow, 415 compressed, 400 broken off.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refused(415, "compressed bodies are not supported", field="content-encoding")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > options.max_body_bytes:
        raise _too_large(options)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(options.body_timeout_s):
            async for chunk in request.stream():
                size += len(chunk)
                if size > options.max_body_bytes:
                    raise _too_large(options)
                chunks.append(chunk)
    except TimeoutError as error:
        raise Refused(408, f"the body did not arrive within {options.body_timeout_s:g} s") from error
    except ClientDisconnect as error:
        raise Refused(400, "the connection closed before the body was complete") from error
    return b"".join(chunks)


def _too_large(options: Options) -> Refused:
    return Refused(
        413, f"the body is larger than {options.max_body_bytes} bytes", reason="oversized", field=""
    )
