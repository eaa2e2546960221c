"""Trying again: consumes one attempt to reach somebody, produces how it ended.

Shared by the channels. An attempt says what failed, whether that is final, and how long the other side asks
to wait; addresses and passwords are never in what it says.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Final, NamedTuple

from infra.runtime.log import get_logger

_log = get_logger(__name__)
_FIRST_BACKOFF_S: Final = 0.5
_LAST_BACKOFF_S: Final = 60.0


class Outcome(StrEnum):
    """How the attempts to tell somebody ended."""

    TAKEN = "taken"
    REFUSED = "refused"
    EXPIRED = "expired"


class Attempt(NamedTuple):
    """One attempt: what failed (empty: nothing did), whether for good, and the wait that was asked for."""

    failure: str = ""
    final: bool = False
    wait_s: float = 0.0


async def persist(
    channel: str, alert: str, attempt: Callable[[], Awaitable[Attempt]], *, give_up_after_s: float
) -> Outcome:
    """Attempt with growing pauses until it is taken, refused for good, or no longer worth it."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + give_up_after_s
    backoff_s = _FIRST_BACKOFF_S
    while True:
        failure, final, wait_s = await attempt()
        if not failure:
            return Outcome.TAKEN
        if final:
            _log.error(f"{channel}.refused", alert=alert, answer=failure)
            return Outcome.REFUSED
        if loop.time() > deadline:
            _log.error(f"{channel}.given_up", alert=alert, failure=failure)
            return Outcome.EXPIRED
        pause_s = min(max(backoff_s, wait_s), _LAST_BACKOFF_S)
        _log.warning(f"{channel}.failed", alert=alert, failure=failure, again_in_s=pause_s)
        await asyncio.sleep(pause_s)
        backoff_s = min(2 * backoff_s, _LAST_BACKOFF_S)
