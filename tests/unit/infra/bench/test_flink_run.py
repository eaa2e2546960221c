"""A run on a Flink cluster: its plan, its clock for "back in work", and its verdict."""

import asyncio
import time
from pathlib import Path

import pytest

from infra.bench.chaos.copies import Copies
from infra.bench.chaos.storm import Sent
from infra.bench.chaos.system import StalledError
from infra.bench.chaos.traffic import Nature
from infra.bench.flink import watch
from infra.bench.flink.outcome import Outcome
from infra.bench.flink.plan import BROKER, JOBMANAGER, TASKMANAGER, FlinkPlan, schedule
from infra.bench.flink.watch import Watch
from infra.runtime.settings import Endpoints, Settings, parse


def copies(size: int, *numbers: int) -> Copies:
    """Return counts of these numbers."""
    found = Copies(size)
    for number in numbers:
        found.add(str(number))
    return found


def test_a_seed_gives_one_schedule_with_every_fault(tmp_path: Path):
    """So many of each, in order, none at the very end, where nothing is left to come out."""
    plan = FlinkPlan(tmp_path, events=10_000)
    faults = schedule(plan)
    assert faults == schedule(plan)
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    assert max(fault.at for fault in faults) <= 7_500
    names = [fault.process for fault in faults]
    assert [names.count(one) for one in (TASKMANAGER, JOBMANAGER, BROKER)] == [10, 2, 1]


@pytest.fixture
def pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    """A watch that takes a twentieth of a second without output for a silence."""
    monkeypatch.setattr(watch, "_SILENT_S", 0.05)
    monkeypatch.setattr(watch, "_LOOK_S", 0.001)
    settings = Settings(
        tmp_path, parse('[streams.x]\nkind = "sensor"', "the test"), Endpoints("127.0.0.1:1", "", "")
    )
    return Watch(settings, 10)


async def test_what_was_under_way_is_not_taken_for_recovery(pulse: Watch):
    """A commit just after the kill does not count; the first after the silence does."""
    killed_s = time.monotonic()
    waiting = asyncio.create_task(pulse.back_s(killed_s, within_s=5))
    await asyncio.sleep(0.01)
    pulse.last_s = time.monotonic()
    while time.monotonic() - killed_s < 0.1:
        await asyncio.sleep(0.005)
    assert not waiting.done()
    pulse.last_s = time.monotonic()
    assert await waiting == pytest.approx(pulse.last_s - killed_s)


async def test_no_output_at_all_is_a_stall_and_all_of_it_is_the_end(pulse: Watch):
    """Nothing within the bound is an error; nothing because everything is out is not."""
    with pytest.raises(StalledError, match="nothing came out"):
        await pulse.back_s(time.monotonic(), within_s=0.1)
    for number in range(10):
        pulse.clean.add(str(number))
    assert await pulse.back_s(time.monotonic(), within_s=0.1) is None


def test_the_verdict_names_what_is_wrong(tmp_path: Path):
    """Lost, doubled, late, and faults that did not happen; a good run has none."""
    plan = FlinkPlan(tmp_path, events=3, taskmanager_kills=1, jobmanager_kills=0, broker_kills=0)
    sent = Sent(copies(3, 0, 1, 2))
    sent.natures[Nature.BAD] = 1
    good = Outcome(
        plan, sent, copies(3, 0, 1, 2), copies(1, 0), back_s=[(TASKMANAGER, 9.0)], faults=1, seconds=5.0
    )
    assert good.shortcomings() == []
    assert good.as_json()["lost"] == good.as_json()["doubled"] == {"clean": 0, "dead": 0}
    bad = Outcome(plan, sent, copies(3, 0, 0, 2), copies(1), back_s=[(TASKMANAGER, 21.0)])
    told = "; ".join(bad.shortcomings())
    for part in (
        "only 0 of 1 faults",
        "1 lost in clean: [1]",
        "1 doubled in clean: [0]",
        "1 lost in dead",
        "21.0 s",
    ):
        assert part in told
    assert Outcome(plan, sent, stalled="given up").as_json()["lost"] is None
