"""Releases whose store is away: consumes what could not be fetched, produces another try, and another.

A newer announcement takes an older one's place, so what comes in the end is what was announced last.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from infra.runtime.object_store import StoreAway
from schemas.release import Release

FIRST_PAUSE_S: Final = 1.0
LAST_PAUSE_S: Final = 30.0

Work = Callable[[Release], Awaitable[bool]]
"""Loads a release and tells whether it may serve; it raises StoreAway where that cannot be known yet."""


class Awaited:
    """At most one release a key waits. One is worked on at a time; `told` hears of each that waits."""

    def __init__(self, told: Callable[[Release, StoreAway], None]) -> None:
        self._told = told
        self._waiting: dict[str, tuple[Release, Work]] = {}
        self._any = asyncio.Event()
        self._alone = asyncio.Lock()

    async def attempt(self, key: str, release: Release, work: Work) -> bool:
        """Do the work for what was announced; where the store is away, now and again until another is."""
        async with self._alone:
            self._waiting.pop(key, None)
            return await self._attempt(key, release, work)

    def put(self, key: str, release: Release, work: Work, error: StoreAway) -> None:
        """Let a release wait for its store."""
        if key not in self._waiting:
            self._told(release, error)
        self._waiting[key] = release, work
        self._any.set()

    def drop(self, key: str) -> None:
        """Let none wait under a key."""
        self._waiting.pop(key, None)

    async def run(self, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """Try what waits again, until cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            await self._any.wait()
            await sleep(pause_s)
            for key in list(self._waiting):
                async with self._alone:
                    if (entry := self._waiting.get(key)) is not None:
                        await self._attempt(key, *entry)
            pause_s = min(2 * pause_s, LAST_PAUSE_S)
            if not self._waiting:
                pause_s = FIRST_PAUSE_S
                self._any.clear()

    async def _attempt(self, key: str, release: Release, work: Work) -> bool:
        try:
            taken = await work(release)
        except StoreAway as error:
            self.put(key, release, work, error)
            return False
        self._waiting.pop(key, None)
        return taken
