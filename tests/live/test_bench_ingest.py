"""`headrace bench ingest` end to end, at a small rate: every event counted, every figure there."""

import json
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE, STDOUT

import pytest

pytestmark = pytest.mark.live


async def test_a_short_run_loses_nothing_and_says_how_long_it_took(tmp_path):
    """The command runs a stack of its own and exits with 0; its JSON is whole, and the plot is drawn."""
    figures, plot, home = tmp_path / "figures.json", tmp_path / "plot.svg", tmp_path / "home"
    options = ["--rate", "400", "--seconds", "3", "--warm-up", "1", "--kind", "api", "--home", str(home)]
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "infra.cli", "bench", "ingest", *options),
        *("--json", str(figures), "--plot", str(plot)),
        stdout=PIPE,
        stderr=STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    found = json.loads(figures.read_text())
    assert (found["sent"], found["rows"], found["lost"], found["doubled"]) == (1600, 1600, 0, 0)
    latency = found["selectable_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"]
    assert found["rss_bytes"]["first"] > 0 < found["rss_bytes"]["last"]
    assert {"kafka", "clickhouse", "streams", "sink", "load"} <= set(found["cpu"])
    assert plot.read_text().lstrip().startswith("<?xml")
