"""The queue before the models: a few requests at a time, a bounded number of rows waiting."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from serving.gateway.problems import Refused


class Admission:
    """Lets `at_once` requests in, of which and behind which at most `max_rows` rows may be."""

    def __init__(self, at_once: int, max_rows: int) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._max_rows = max_rows
        self._rows = 0

    @asynccontextmanager
    async def admitted(self, rows: int) -> AsyncIterator[None]:
        """Wait for a turn, and hold it.

        Raises:
            Refused: 503, too many rows wait or are being answered already.
        """
        if self._rows + rows > self._max_rows:
            raise Refused(503, f"{self._rows} rows are waiting for the models already; send it again later")
        self._rows += rows
        try:
            async with self._turns:
                yield
        finally:
            self._rows -= rows
