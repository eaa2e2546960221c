"""`headrace bench nab` on the real series: the bound that is held, and what the command prints and writes."""

from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from infra.bench.nab.contestants import CONTESTANTS
from infra.bench.nab.profiles import PROFILES
from infra.cli.main import app
from schemas.errors import Fatal
from tests.data import data_folder

RUNNER = CliRunner()


def test_the_detector_holds_its_bounds(tmp_path):
    """On 35 real series: all three profiles, both halves, its own threshold, and far before the peers."""
    json = tmp_path / "nab.json"
    names = "windowed_gaussian,novelty,random,null"
    ran = RUNNER.invoke(
        app, ["bench", "nab", str(data_folder() / "nab"), "--detectors", names, "--json", str(json)]
    )
    assert ran.exit_code == 0, ran.output
    figures = msgspec.json.decode(json.read_bytes())
    assert (figures["series"], figures["windows"]) == (35, 50)
    ours = figures["detectors"]["novelty"]
    scores = {profile.name: ours["profiles"][profile.name]["score"] for profile in PROFILES}
    assert scores["standard"] >= 79.0
    assert scores["reward_low_FP_rate"] >= 74.0
    assert scores["reward_low_FN_rate"] >= 82.0
    assert min(half["standard"] for half in ours["halves"].values()) >= 79.0
    assert ours["own_threshold"]["standard"]["score"] >= 75.0
    others = [figures["detectors"][name]["profiles"] for name in ("windowed_gaussian", "random", "null")]
    assert max(other["standard"]["score"] for other in others) < scores["standard"] - 30
    assert others[-1]["standard"]["score"] == 0.0
    assert len(ours["by_series"]) == 35 and "speed_t4013.csv" in ran.stdout
    assert "novelty at its own threshold 0.3, nothing optimised" in ran.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One series of 800 rows with a spike in a window."""
    values = [float(row % 7) for row in range(800)]
    values[500] = 90.0
    rows = [
        f"2014-02-{14 + row // 288:02} {row // 12 % 24:02}:{row % 12 * 5:02}:00,{value}"
        for row, value in enumerate(values)
    ]
    (tmp_path / "data/g").mkdir(parents=True)
    (tmp_path / "labels").mkdir()
    (tmp_path / "data/g/a.csv").write_text("\n".join(["timestamp,value", *rows]) + "\n")
    first, last = (rows[at].split(",")[0] for at in (480, 560))
    (tmp_path / "labels/combined_windows.json").write_text(f'{{"g/a.csv": [["{first}", "{last}"]]}}')
    return tmp_path


def test_json_goes_to_standard_output_alone_and_the_page_to_its_file(folder):
    """With every detector; the tables then go to standard error."""
    page = folder / "deep" / "page.html"
    ran = RUNNER.invoke(app, ["bench", "nab", str(folder), "--json", "-", "--report", str(page)])
    assert ran.exit_code == 0, ran.output
    figures = msgspec.json.decode(ran.stdout)
    assert list(figures["detectors"]) == list(CONTESTANTS)
    assert figures["detectors"]["novelty"]["profiles"]["standard"]["found"] == 1
    assert "µs/reading" in ran.stderr and str(page) in ran.stderr
    text = page.read_text(encoding="utf-8")
    assert "g/a.csv: 1 of 1 windows found" in text and text.count("<svg") == 1


def test_what_is_wrong_ends_with_one_sentence(folder, tmp_path):
    """A folder that is none, and a detector that there is not."""
    ran = RUNNER.invoke(app, ["bench", "nab", str(tmp_path / "none")])
    assert ran.exit_code == 1 and isinstance(ran.exception, Fatal)
    ran = RUNNER.invoke(app, ["bench", "nab", str(folder), "--detectors", "magic"])
    assert ran.exit_code == 2 and "windowed_gaussian" in ran.stderr
