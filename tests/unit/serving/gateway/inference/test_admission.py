"""The queue before the models."""

import asyncio

import pytest

from serving.gateway.inference.admission import Admission
from serving.gateway.problems import Refused


async def test_rows_are_bounded_and_turns_are_taken():
    """One request is answered, one waits, a third is refused with 503; what is done makes room."""
    admission = Admission(1, 10)
    inside, go = asyncio.Event(), asyncio.Event()

    async def ask(rows: int) -> None:
        async with admission.admitted(rows):
            inside.set()
            await go.wait()

    first = asyncio.create_task(ask(6))
    await inside.wait()
    inside.clear()
    second = asyncio.create_task(ask(4))
    await asyncio.sleep(0)
    assert not inside.is_set()
    with pytest.raises(Refused, match="10 rows are waiting") as refused:
        await ask(1)
    assert refused.value.status == 503
    go.set()
    await asyncio.gather(first, second)
    await ask(10)


async def test_who_gives_up_or_fails_makes_room():
    """A cancelled request, waiting or not, and a failing one leave nothing behind."""
    admission = Admission(1, 2)

    async def hold() -> None:
        async with admission.admitted(1):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold()) for _ in range(2)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with pytest.raises(ValueError, match="broken"):
        async with admission.admitted(2):
            raise ValueError("broken")
    async with admission.admitted(2):
        pass
