"""Joins concurrent requests: records of single requests in, one `Publisher.send_all` for many out.

While one produce call is under way the records of new requests gather; they leave together in the next.
So one request alone waits for nobody, and a thousand at once cost a few produce calls.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from infra.runtime.audit import Sink
from infra.runtime.log import get_logger
from schemas.errors import Fatal, HeadraceError, Retryable
from schemas.record import Coordinates, Outgoing

_log = get_logger(__name__)


class Unsent(HeadraceError):
    """A batch that could not be sent although the brokers answer, such as for a record that is too large."""


class MicroBatcher:
    """A queue before the producer; `serving.gateway.load` bounds it."""

    def __init__(self, sink: Sink, *, max_batch: int = 2000) -> None:
        self._sink = sink
        self._max_batch = max_batch
        self._waiting: list[tuple[Sequence[Outgoing], asyncio.Future[list[Coordinates]]]] = []
        self._pending = 0
        self._arrived = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    @property
    def pending(self) -> int:
        """Return how many records wait to be sent."""
        return self._pending

    def start(self) -> None:
        """Begin to forward what is published."""
        self._worker = asyncio.create_task(self._forward(), name="gateway-microbatch")

    async def stop(self) -> None:
        """End; requests that still wait are told to try again."""
        if self._worker is not None:
            self._worker.cancel()
            with suppress(asyncio.CancelledError):  # that is how it ends
                await self._worker
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(Retryable("the gateway is stopping"))
        self._waiting.clear()

    async def publish(self, records: Sequence[Outgoing]) -> list[Coordinates]:
        """Return the coordinates of the records once the brokers have acknowledged all of them.

        Raises:
            Retryable: the brokers did not acknowledge.
            Unsent: the batch that these were in could not be sent, perhaps for another's sake.
            Fatal: the gateway has stopped forwarding.
        """
        if self._worker is None or self._worker.done():
            raise Fatal("the gateway does not forward records; restart it")
        future: asyncio.Future[list[Coordinates]] = asyncio.get_running_loop().create_future()
        self._waiting.append((records, future))
        self._pending += len(records)
        self._arrived.set()
        return await future

    async def _forward(self) -> None:
        while True:
            await self._arrived.wait()
            batch = self._take()
            try:
                coordinates = await self._sink.send_all(
                    [record for records, _ in batch for record in records]
                )
            except asyncio.CancelledError:
                _fail(batch, Retryable("the gateway is stopping"))
                raise
            except Exception as error:  # noqa: BLE001  # the requests must hear of it, and the next go on
                _log.warning("batch.refused", records=sum(len(r) for r, _ in batch), error=str(error))
                _fail(batch, error)
            else:
                start = 0
                for records, future in batch:
                    if not future.done():  # its request may have timed out meanwhile
                        future.set_result(coordinates[start : start + len(records)])
                    start += len(records)

    def _take(self) -> list[tuple[Sequence[Outgoing], asyncio.Future[list[Coordinates]]]]:
        """Take whole requests from the queue's head, up to a batch of records but at least one request."""
        count = taken = 0
        for records, _ in self._waiting:
            if taken and count + len(records) > self._max_batch:
                break
            count += len(records)
            taken += 1
        batch = self._waiting[:taken]
        del self._waiting[:taken]
        self._pending -= count
        if not self._waiting:
            self._arrived.clear()
        return batch


def _fail(
    batch: list[tuple[Sequence[Outgoing], asyncio.Future[list[Coordinates]]]], error: Exception
) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error if isinstance(error, Retryable) else Unsent(str(error)))
