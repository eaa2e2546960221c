"""The bound of what waits for the models."""

import asyncio

import pytest

from serving.gateway.inference.admission import Admission
from serving.gateway.problems import Refused


def test_rows_are_bounded():
    """What would go beyond the bound is refused with 503; what is done makes room."""
    admission = Admission(10)
    with admission.admitted(6), admission.admitted(4):
        with pytest.raises(Refused, match="10 rows are waiting") as refused, admission.admitted(1):
            pass
        assert refused.value.status == 503
    with admission.admitted(10):
        pass


async def test_who_gives_up_or_fails_makes_room():
    """A cancelled request and a failing one leave nothing behind."""
    admission = Admission(2)

    async def hold() -> None:
        with admission.admitted(1):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold()) for _ in range(2)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with pytest.raises(ValueError, match="broken"), admission.admitted(2):
        raise ValueError("broken")
    with admission.admitted(2):
        pass
