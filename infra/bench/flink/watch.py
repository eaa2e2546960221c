"""What comes out, as a reader sees it: consumes `events.clean` read committed, produces counts and times."""

import asyncio
import time
from typing import Final

from infra.bench.chaos.copies import Copies
from infra.bench.chaos.system import StalledError
from infra.bench.chaos.watch import named
from infra.runtime.kafka.follow import follow
from infra.runtime.settings import Settings
from schemas import topics

_LOOK_S: Final = 0.05
_SILENT_S: Final = 2.0
"""No commit for so long: with a checkpoint a second nothing is at work."""


class Watch:
    """How many distinct events are clean, and when the last came."""

    def __init__(self, settings: Settings, events: int) -> None:
        self._settings = settings
        self.clean = Copies(events)
        self.last_s = time.monotonic()

    async def run(self) -> None:
        """Watch until cancelled."""
        async for record in follow(self._settings, [topics.CLEAN]):
            self.clean.add(named.decode(record.value or b"").id)
            self.last_s = time.monotonic()

    async def back_s(self, killed_s: float, within_s: float) -> float | None:
        """Wait until output goes on after a kill at `killed_s`; return how long after it that was.

        What was under way to a commit may still come just after the kill: counted is what comes after the
        silence that follows. Where no silence follows in 8 s, the fault stopped nothing: 0. None: all that
        there will be had come out already.

        Raises:
            StalledError: it does not go on within `within_s`.
        """
        silent_from_s = self.last_s
        while True:
            now_s = time.monotonic()
            if self.last_s > silent_from_s:
                if self.last_s - silent_from_s >= _SILENT_S and self.last_s > killed_s:
                    return self.last_s - killed_s
                silent_from_s = self.last_s
            if now_s - killed_s > _SILENT_S + 6.0 and now_s - silent_from_s < _SILENT_S:
                return 0.0
            if self.clean.distinct == len(self.clean.seen):
                return None
            if now_s - killed_s > within_s:
                raise StalledError(f"nothing came out for {now_s - silent_from_s:.0f} s after a kill")
            await asyncio.sleep(_LOOK_S)
