"""The bench of the gateway's door, started as users start it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.main import app

pytestmark = pytest.mark.live


def test_every_system_is_measured(tmp_path: Path) -> None:
    """Four systems and a Redis of their own start, answer 200 and stop; the figures are one object."""
    target = tmp_path / "out.json"
    options = ["--rounds", "1", "--seconds", "0.5", "--connections", "8", "--json", str(target)]
    result = CliRunner().invoke(app, ["bench", "gateway", *options])
    assert result.exit_code == 0, result.output
    figures = json.loads(target.read_bytes())
    assert set(figures["systems"]) == {"fastapi", "open", "key", "jwt"}
    assert set(figures["ratios"]) == {"open", "key", "jwt"}
    assert all(system["requests_per_s"] > 0 for system in figures["systems"].values())
