"""`headrace bench predict`, small: real broker and worker, a few hundred real log lines, answers checked."""

import msgspec
import pytest
from typer.testing import CliRunner

from infra.cli.main import app
from tests.data import data_folder

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def test_the_cache_changes_no_answer(tmp_path):
    """Lines that came before are answered from the cache, as the model itself would answer them."""
    command = ["bench", "predict", "--data", str(data_folder()), "--lines", "600", "--passes", "2"]
    ran = CliRunner().invoke(app, [*command, "--new", "40", "--home", str(tmp_path / "home"), "--json", "-"])
    figures = msgspec.json.decode(ran.stdout)
    assert [figures[name] for name in ("checked", "lost", "doubled", "changed")] == [1240, 0, 0, 0]
    shares = {name: found["cached"] for name, found in figures["passes"].items()}
    assert shares["first"] > 0.5 and shares["again 1"] == 1.0 and shares["new"] == 0.0
    assert ran.exit_code == (figures["lines_per_s"] < figures["goal"])
