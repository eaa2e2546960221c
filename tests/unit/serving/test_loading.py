"""Loading steps back for answers: the thread that loads has the least share of the cores, no other."""

import asyncio
import os
import sys
import threading
from functools import partial

import pytest

from serving.loading import NICENESS, SHARE, Loading, Pause, Sparing


def niceness() -> int:
    """Return this thread's."""
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


async def test_only_the_loading_thread_steps_back() -> None:
    """Work aside has the niceness where threads have one each; whoever asks for it keeps their own."""
    before = niceness()
    loading = Loading()
    assert await loading.aside(lambda _: niceness()) == (NICENESS if sys.platform == "linux" else before)
    assert niceness() == before
    assert await loading.aside(lambda _: threading.get_ident()) != threading.get_ident()


async def test_candidates_are_loaded_one_after_another() -> None:
    """However many are asked for at once, one is loaded at a time; an error is its own."""
    loading, busy, most = Loading(), 0, 0

    def load(number: int, pause: Pause) -> int:
        pause()
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


def test_work_is_done_for_a_share_of_the_time() -> None:
    """Pauses are as long as the share asks, by what was worked since the one before."""
    worked = iter([0.0, 0.02, 0.02, 0.05, 0.05, 0.05, 0.05])
    slept: list[float] = []
    pause = Sparing(SHARE, lambda: next(worked), slept.append)
    for _ in range(3):
        pause()
    assert slept == [pytest.approx(0.18), pytest.approx(0.27), 0.0]
