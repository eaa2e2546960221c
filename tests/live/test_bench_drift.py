"""`headrace bench drift` end to end, small: every drift told soon after its window, none before it began."""

import json
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, STDOUT

import pytest

pytestmark = pytest.mark.live


async def test_real_drifts_are_told_soon_and_steady_streams_are_left_alone(tmp_path):
    """The command exits with 0: four alerts within five seconds of their windows, none of steady events."""
    figures, home = tmp_path / "figures.json", tmp_path / "home"
    options = ["--events", "20000", "--rate", "400", "--live-rate", "3000", "--window", "2"]
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "infra.cli", "bench", "drift", *options),
        *("--home", str(home), "--json", str(figures)),
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    found = json.loads(figures.read_text())
    assert [one["alerts"] for one in found["steady"]] == [[], [], []]
    assert all(one["events"] == 20_000 and one["events_per_s_per_core"] > 0 for one in found["steady"])
    after = found["live"]["alert_after_window_close_s"]
    assert set(after) == {"north", "east", "south", "west"}
    assert max(after.values()) < 5.0
    assert (found["live"]["missed"], found["live"]["false"]) == ([], [])
