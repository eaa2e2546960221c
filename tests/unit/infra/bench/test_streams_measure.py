"""The wait for an engine's outputs."""

import time
from typing import cast

import pytest

from infra.bench.streams import measure
from infra.bench.streams.channel import Outputs
from infra.bench.streams.engines import Started
from infra.local.errors import StackError
from infra.local.process import Supervisor


class Slow:
    """Outputs that are visible all at once, and come to their reader only when it asks the second time."""

    def __init__(self, count: int) -> None:
        self.ids: set[int] = set()
        self._count = count
        self._asked = 0

    async def reach(self) -> int:
        return self._count

    async def drain(self) -> None:
        self._asked += 1
        if self._asked > 1:
            self.ids.update(range(self._count))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often."""
    for name in ("_LOOK_EVERY_S", "_QUIET_S", "_READ_AGAIN_S"):
        monkeypatch.setattr(measure, name, 0.01)


async def test_a_read_that_came_too_early_is_made_again():
    """What a broker did not hand out at once is asked for again, though no more becomes visible."""
    supervisor = Supervisor()
    watch = measure._Watch(supervisor, Started([]), cast("Outputs", Slow(5)))
    began = time.monotonic()
    await watch.until(5, 20.0, "warm up")
    assert time.monotonic() - began < 10.0


async def test_what_never_comes_is_a_stall():
    """An engine that leaves some out is given up."""
    watch = measure._Watch(Supervisor(), Started([]), cast("Outputs", Slow(5)))
    with pytest.raises(StackError, match="did not warm up"):
        await watch.until(6, 0.2, "warm up")
