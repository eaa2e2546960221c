"""Where candidates are loaded: blocking work in, its result out, by a thread that steps back for answers.

Loading costs a quarter of a second of a core: a folder is hashed, a graph parsed and warmed, known questions
are asked. While a model answers, nothing of that is urgent; at an equal share of the cores it would keep
answers waiting. Linux knows a niceness of single threads (sched(7)); elsewhere all threads are alike.
"""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

T = TypeVar("T")

NICENESS: Final = 19
"""The least share there is: where both cores are busy the thread has a seventieth of one."""


class Loading:
    """One thread for all models of a worker, at a low priority; candidates are loaded one after another."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loading", initializer=_step_back)

    async def aside(self, work: Callable[[], T]) -> T:
        """Do work beside a model that answers."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


def _step_back() -> None:
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
