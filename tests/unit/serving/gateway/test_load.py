"""When the gateway sheds load: a late event loop, a long queue before Kafka."""

import asyncio

import pytest

from infra.bench.gateway.inside import Memory
from schemas.gateway import Limits
from schemas.record import Outgoing
from serving.gateway.load import Load
from serving.gateway.microbatch import MicroBatcher
from serving.gateway.problems import Refused
from serving.gateway.scopes import Scope


def test_a_late_loop_sheds_until_it_has_caught_up():
    """503 with when to come again; the measured lag falls by halves."""
    load = Load(lambda: Limits(max_lag=1.0), MicroBatcher(Memory()))
    load.note(0.9)
    load.check(Scope.READ)
    load.note(3.0)
    with pytest.raises(Refused) as caught:
        load.check(Scope.READ)
    assert (caught.value.status, caught.value.headers["retry-after"]) == (503, "6")
    for _ in range(2):
        load.note(0.0)
    load.check(Scope.READ)


async def test_a_long_queue_sheds_what_would_join_it():
    """Publishing is refused while too much waits for Kafka; reading goes on."""
    batcher = MicroBatcher(Memory())
    load = Load(lambda: Limits(max_pending=2), batcher)
    load.check_room(2)
    with pytest.raises(Refused):
        load.check_room(3)
    batcher.start()
    record = Outgoing("events.raw", b"shop", b"{}")
    waiting = asyncio.create_task(batcher.publish([record, record]))
    await asyncio.sleep(0)
    with pytest.raises(Refused) as caught:
        load.check(Scope.PUBLISH)
    assert (caught.value.status, caught.value.extra["reason"]) == (503, "pending")
    load.check(Scope.READ)
    await waiting
    load.check(Scope.PUBLISH)
    await batcher.stop()


async def test_the_loop_is_measured():
    """A loop that is held up is seen to be late."""
    times = iter([0.0, 0.1, 0.1, 2.1, 2.1, 2.2])
    late = asyncio.Event()

    class Told(Load):
        def note(self, late_s: float) -> None:
            super().note(late_s)
            if late_s > 1:
                late.set()

    load = Told(Limits, MicroBatcher(Memory()), lambda: next(times, 2.2))
    load.start()
    await asyncio.wait_for(late.wait(), 5)
    await load.stop()
    assert load.lag_s == pytest.approx(1.9)
