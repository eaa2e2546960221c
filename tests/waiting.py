"""Waiting in tests: poll a condition until it holds or a deadline passes, never sleep and hope."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(predicate: Callable[[], T], timeout_s: float = 10.0, every_s: float = 0.05) -> T:
    """Call ``predicate`` until its result is true and return that; at the deadline fail with its last."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"did not hold within {timeout_s} s; last result: {result!r}")
        time.sleep(every_s)


async def aeventually(
    predicate: Callable[[], Awaitable[T]], timeout_s: float = 10.0, every_s: float = 0.05
) -> T:
    """The same for a coroutine function."""
    deadline = time.monotonic() + timeout_s
    while True:
        result = await predicate()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"did not hold within {timeout_s} s; last result: {result!r}")
        await asyncio.sleep(every_s)
