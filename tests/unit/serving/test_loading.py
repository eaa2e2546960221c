"""Loading steps back for answers: the thread that loads has the least share of the cores, no other."""

import asyncio
import os
import sys
import threading
from functools import partial

from serving.loading import NICENESS, Loading


def niceness() -> int:
    """Return this thread's."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


async def test_only_the_loading_thread_steps_back() -> None:
    """Work aside has the niceness where threads have one each; whoever asks for it keeps their own."""
    before = niceness()
    loading = Loading()
    assert await loading.aside(niceness) == (NICENESS if sys.platform == "linux" else before)
    assert niceness() == before
    assert await loading.aside(threading.get_ident) != threading.get_ident()


async def test_candidates_are_loaded_one_after_another() -> None:
    """However many are asked for at once, one is loaded at a time; an error is its own."""
    loading, busy, most = Loading(), 0, 0

    def load(number: int) -> int:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        sum(range(100_000))
        busy -= 1
        return 60 // number

    found = await asyncio.gather(
        *(loading.aside(partial(load, n)) for n in (1, 2, 0, 3)), return_exceptions=True
    )
    assert (found[0], found[1], found[3], most) == (60, 30, 20, 1)
    assert isinstance(found[2], ZeroDivisionError)
