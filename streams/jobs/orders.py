"""Follows `streams.control` beside a Flink task: operators' orders in, what is paused at this moment out.

Flink's functions are called in one thread and know no event loop, so the orders are followed in a thread of
their own, which ends with the task. What is paused is no part of a checkpoint; what waits for it is.
"""

import asyncio
import threading
from typing import NamedTuple

from infra.runtime.control import Controls
from infra.runtime.settings import Settings
from schemas.control import Scope, Stage
from schemas.errors import Fatal


class Paused(NamedTuple):
    """What is paused of the cleaning stage: some streams, or the stage as a whole."""

    streams: frozenset[str] = frozenset()
    stage: bool = False


class Orders:
    """What operators have asked for, as far as this task has read."""

    def __init__(self, settings: Settings) -> None:
        self._controls = Controls(settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="orders", daemon=True)

    def open(self) -> None:
        """Read the orders to their present end, then follow them.

        Raises:
            Retryable: the topic is not there.
            KafkaError: no broker answers.
        """
        self._loop.run_until_complete(self._controls.load())
        self._following = self._loop.create_task(self._controls.follow())
        self._thread.start()

    def close(self) -> None:
        """Follow them no more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._following.cancel)
            self._thread.join()
        self._loop.close()

    @property
    def paused(self) -> Paused:
        """Return what is paused now.

        Raises:
            Fatal: the orders are not followed any more; the log says why.
        """
        if not self._thread.is_alive():
            raise Fatal("streams.control is not followed any more; the task has to start again")
        stage = self._controls.paused(Scope.STAGE, Stage.CLEAN.value) is not None
        return Paused(self._controls.paused_streams, stage)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._following)
        except asyncio.CancelledError:
            return
