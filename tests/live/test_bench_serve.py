"""`headrace bench serve`, small: the real gateway beside a real FastAPI server and the session alone."""

import msgspec
import psutil
import pytest
from typer.testing import CliRunner

from infra.cli.main import app

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


def test_both_servers_are_measured_and_answer_as_the_model_does(tmp_path):
    """All have figures at each concurrency, every label is the model's, and nothing goes on running."""
    command = ["bench", "serve", "--scenario", "sensor", "--systems", "session,headrace,fastapi"]
    command += ["--rounds", "1", "--seconds", "0.5", "--concurrency", "1,8"]
    ran = CliRunner().invoke(app, [*command, "--home", str(tmp_path / "home"), "--json", "-"])
    assert ran.exit_code == 0, ran.output
    figures = msgspec.json.decode(ran.stdout)
    assert set(figures["systems"]) == {"session", "headrace", "fastapi"} and figures["failed"] == {}
    for name, system in figures["systems"].items():
        assert system["requests_per_s"] > 0
        assert 0 < system["p50_ms"] <= system["p95_ms"] <= system["p99_ms"]
        for at in system["by_concurrency"].values():
            assert (at["failed"], at["differing"]) == (0, 0), name
            assert name == "session" or at["compared"] > 0
    assert set(figures["ratios"]) == {"fastapi"}
    assert set(figures["session_share"]["8"]) == {"headrace", "fastapi"}
    left = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in left if line and str(tmp_path) in " ".join(line)]
