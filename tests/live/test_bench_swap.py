"""`headrace bench swap`, small: real broker, real worker, a few swaps of a small network."""

import msgspec
import pytest
from typer.testing import CliRunner

from infra.cli.main import app

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def test_a_few_swaps_lose_double_and_mix_nothing(tmp_path):
    """Every event has its answer, by the version that the ledger names; the figures say so."""
    command = ["bench", "swap", "--family", "sensor", "--swaps", "4", "--rate", "300", "--steady", "1"]
    ran = CliRunner().invoke(app, [*command, "--home", str(tmp_path / "home"), "--json", "-"])
    assert ran.exit_code == 0, ran.output
    figures = msgspec.json.decode(ran.stdout)
    assert [figures[name] for name in ("swaps", "failed", "lost", "doubled", "mixed")] == [4, 0, 0, 0, 0]
    assert figures["events"]["steady"] > 200 and figures["events"]["swapping"] > 50
    assert figures["p99_ms"]["swapping"] > 0
    assert figures["ledger_entries"] >= 2 * 5  # two partitions, five versions in turn
