"""A small chaos run, started as users start it: kills, rebalances, and every id compared in every place."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from infra.local.home import Home, is_alive, read_record
from tests.waiting import aeventually

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

COMMAND = [sys.executable, "-m", "infra.cli", "bench", "chaos", "--seed", "7"]


async def test_kills_and_rebalances_lose_and_double_nothing(tmp_path: Path) -> None:
    """4 kill -9 and 2 rebalances under 6,000 events: each id is once on every topic and in every table."""
    figures_path = tmp_path / "chaos.json"
    command = [*COMMAND, "--events", "6000", "--kills", "4", "--rebalances", "2"]
    command += ["--home", str(tmp_path / "home"), "--json", str(figures_path), "--stall", "60"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-4000:]
    figures = json.loads(figures_path.read_text())
    nothing = {"clean": 0, "warehouse": 0, "predictions": 0}
    assert (figures["sent"], figures["kills"], figures["rebalances"]) == (6000, 4, 2)
    assert figures["lost"] == nothing and figures["doubled"] == nothing
    assert all(place["distinct"] == place["sent"] for place in figures["places"].values())
    assert figures["duplicates_dropped"] == figures["duplicates_sent"] > 0
    assert figures["duplicates_on_other_partitions"] > 0
    assert sum(figures["rejected"].values()) == figures["bad_sent"] > 0
    assert sum(figures["restarts"].values()) >= 4


async def test_ctrl_c_ends_everything(tmp_path: Path) -> None:
    """An interrupted run stops its services and workers, and says so by its status."""
    home = tmp_path / "home"
    process = await asyncio.create_subprocess_exec(
        *("env", "--default-signal=INT"),  # a suite that runs in the background ignores it, and hands that on
        *COMMAND,
        *("--events", "5000", "--home", str(home)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=dict(os.environ),
    )

    async def started() -> list[tuple[int, float]]:
        record = read_record(Home(home)) or {}
        found = [(p["pid"], p["pid_started"]) for p in record.get("processes", []) if p["pid"]]
        return found if len(found) == 3 else []

    try:
        services = await aeventually(started, 90)
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 90) == 130
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert not any(is_alive(pid, began) for pid, began in services)
