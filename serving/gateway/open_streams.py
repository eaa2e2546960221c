"""The open event streams of one gateway: how many there may be, and that they end when it stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from serving.gateway.problems import Refused

MAX_STREAMS: Final = 64


class Streams:
    """Counts what is open, and tells it when the gateway stops."""

    def __init__(self) -> None:
        self._open = 0
        self._ending = asyncio.Event()

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        """Count a stream while it is open."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def check_room(self) -> None:
        """Let another stream be opened.

        Raises:
            Refused: 503, there are as many as there may be, or the gateway stops.
        """
        if self._open >= MAX_STREAMS or self._ending.is_set():
            raise Refused(503, f"{self._open} streams are open already", retry_after_s=10)

    async def ended(self) -> None:
        """Wait until the gateway stops."""
        await self._ending.wait()

    def end(self) -> None:
        """End all streams; their clients go on elsewhere, or when the gateway is back."""
        self._ending.set()
