"""Connects and disconnects aiokafka's clients so that a cancellation in between neither leaks nor gets lost.

A start that is cut off leaves a connection that nobody closes, and a stop swallows the cancellation that
reaches it (`AIOKafkaClient.close` suppresses it), whereupon a worker that was told to end works on. Here both
run in a task of their own, which is let finish; the cancellation then goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

C = TypeVar("C", AIOKafkaConsumer, AIOKafkaProducer, AIOKafkaAdminClient)

START_GRACE_S: Final = 5.0
"""How long a start may go on after its cancellation: longer only where a broker does not answer at all."""


@asynccontextmanager
async def connected(client: C) -> AsyncIterator[C]:
    """Connect for the length of a block; disconnect however it ends, the start itself included."""
    try:
        await start(client)
        yield client
    finally:
        await stop(client)


async def start(client: C) -> None:
    """Connect. On any failure, `stop` must still be called.

    Raises:
        KafkaError: no broker answers.
    """
    await _finished(client.start(), grace_s=START_GRACE_S)


async def stop(client: C) -> None:
    """Disconnect, even while being cancelled; a client that never connected is let go."""
    await _finished(client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())


async def _finished(action: Coroutine[Any, Any, None], grace_s: float | None = None) -> None:
    """Run the action to its end, at most `grace_s` longer than a cancellation; then pass that on."""
    task = asyncio.ensure_future(action)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            done, _ = await asyncio.wait((task,), timeout=grace_s if cancelled else None)
        except asyncio.CancelledError as error:
            cancelled = error
            continue
        if not done:
            task.cancel()
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # seen; what ends the caller is its cancellation
        raise cancelled
    task.result()
