"""Where candidates are loaded: blocking work in, its result out, by a thread that steps back for answers.

Loading costs a quarter of a second of a core: a folder is hashed, a graph parsed and warmed, known questions
are asked. While a model answers, nothing of that is urgent, and at an equal share of the cores it keeps
answers waiting. A low priority is not enough: cores that share caches or memory are slower for whoever works
beside. So the work also pauses, and is at it for a tenth of the time.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

Pause = Callable[[], None]
"""Called between two pieces of work, as often as there is a place for it."""

NICENESS: Final = 19
"""The least share there is: where both cores are busy the thread has a seventieth of one."""

SHARE: Final = 0.1


class Loading:
    """One thread for all models of a worker, at a low priority; candidates are loaded one after another."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loading", initializer=_step_back)

    async def aside(self, work: Callable[[Pause], T]) -> T:
        """Do work beside a model that answers; it is given what to call between its pieces."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(Sparing()))


class Sparing:
    """Pauses a thread so that it works for `share` of its time, by its own processor seconds."""

    def __init__(
        self,
        share: float = SHARE,
        worked_s: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rest = 1.0 / share - 1.0
        self._worked_s = worked_s
        self._sleep = sleep
        self._since = worked_s()

    def __call__(self) -> None:
        """Pause for what was worked since the last pause."""
        self._sleep((self._worked_s() - self._since) * self._rest)
        self._since = self._worked_s()


def at_once() -> None:
    """Do not pause: nobody is kept waiting by the work."""


def _step_back() -> None:
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
