"""Whether the gateway can take more: its event loop's lag and Kafka's queue in, refusals (503) out.

An answer after its caller's timeout is work for nothing, so beyond a limit some requests are refused at once.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

from infra.runtime import metrics
from schemas.gateway import Limits
from serving.gateway.microbatch import MicroBatcher
from serving.gateway.problems import Refused
from serving.gateway.scopes import Scope

_EVERY_S: Final = 0.1


class Load:
    """Measures how late the event loop is, and refuses by that and by what waits for Kafka."""

    def __init__(
        self,
        limits: Callable[[], Limits],
        batcher: MicroBatcher,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._batcher = batcher
        self._monotonic = monotonic
        self._worker: asyncio.Task[None] | None = None
        self.lag_s = 0.0

    def check(self, needed: Scope | None) -> None:
        """Let a request through, if it can be taken.

        Raises:
            Refused: 503, and when to come again.
        """
        limits = self._limits()
        if self.lag_s > limits.max_lag:
            metrics.count_refused("lag")
            raise Refused(503, "the gateway has too much to do", retry_after_s=2 * self.lag_s, reason="lag")
        if needed is Scope.PUBLISH:
            self.check_room(1)

    def check_room(self, records: int) -> None:
        """Let so many records through, if there is room for them before Kafka.

        Raises:
            Refused: 503, and when to come again.
        """
        if self._batcher.pending + records > self._limits().max_pending:
            metrics.count_refused("pending")
            detail = f"{self._batcher.pending} records are waiting for Kafka already"
            raise Refused(503, detail, retry_after_s=1, reason="pending")

    def note(self, late_s: float) -> None:
        """Take one measurement: a rise counts at once, a fall by halves."""
        self.lag_s = max(late_s, self.lag_s / 2)
        metrics.set_loop_lag(self.lag_s)

    def start(self) -> None:
        """Begin to measure."""
        self._worker = asyncio.create_task(self._measure(), name="gateway-load")

    async def stop(self) -> None:
        """End."""
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # that is how it ends
                await self._worker

    async def _measure(self) -> None:
        while True:
            due_s = self._monotonic() + _EVERY_S
            await asyncio.sleep(_EVERY_S)
            self.note(max(0.0, self._monotonic() - due_s))
