"""`headrace bench dedupe` as users run it, small: real processes, a real log, a real kill."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.stack import Endpoints

pytestmark = pytest.mark.live


@pytest.mark.timeout(180)
def test_a_small_run_remembers_everything(stack: Endpoints, tmp_path: Path) -> None:
    """All keys are back from the snapshot and from the log alone, and no answer is wrong."""
    target = tmp_path / "figures.json"
    command = ["bench", "dedupe", "--keys", "200000", "--json", str(target), "--home", str(tmp_path / "home")]
    run = subprocess.run(
        [sys.executable, "-m", "infra.cli", *command, "--kafka", stack.kafka],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    figures = json.loads(target.read_text())
    assert figures["recovered"] == {"snapshot": 200_000, "log": 200_000}
    assert figures["false_positives"] == figures["false_negatives"] == 0
    assert figures["bytes_per_key"] < 40
    assert figures["rss_bytes"] < 2**29
    assert "recovery, log alone" in run.stdout
