"""The whole loop from the command line, and recorded data through the same loop, on stacks of their own."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import psutil
import pytest

pytestmark = [pytest.mark.live, pytest.mark.demo, pytest.mark.timeout(600)]


def _demo(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """Run `headrace demo` in a folder of its own and return how it ended and its figures."""
    figures = folder / "out.json"
    command = [
        sys.executable,
        "-m",
        "infra.cli",
        "demo",
        "--home",
        str(folder / "demo"),
        "--json",
        str(figures),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=580
    )
    assert figures.is_file(), done.stdout[-4000:] + done.stderr[-4000:]
    return done, msgspec.json.decode(figures.read_bytes())


def _processes_of(folder: Path) -> list[str]:
    """Return the command lines of live processes that have to do with a folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        told = [*(process.info["cmdline"] or ()), (process.info["environ"] or {}).get("HEADRACE_HOME", "")]
        if any(str(folder) in text for text in told):
            found.append(" ".join(process.info["cmdline"] or ()))
    return found


def _data() -> Path:
    """Return the folder of real data: `HEADRACE_DATA`, else `shared/data` beside the project."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("HEADRACE_DATA", beside))
    assert folder.is_dir(), f"{folder} is missing; HEADRACE_DATA names the folder of test data"
    return folder


def test_the_whole_loop(tmp_path: Path) -> None:
    """Traffic drifts, a new model is learnt and swapped in, nothing is lost or left running."""
    done, told = _demo(tmp_path, "--short")
    story = done.stdout[-6000:] + done.stderr[-2000:]
    assert done.returncode == 0, story
    assert (told["lost"], told["doubled"]) == (0, 0)
    assert told["accepted"] == told["warehouse_rows"] == told["predictions"] > 1000
    assert told["duplicates_dropped"] >= told["detail"]["copies_sent"] > 0
    assert told["alerts"]
    assert [release["version"] for release in told["releases"]][:2] == [1, 2]
    assert all(release["first_offsets"] for release in told["releases"])
    accuracy = told["accuracy"]
    assert accuracy["after"] >= accuracy["drifted"] + 0.10, story
    assert len(told["rejected"]) >= 10
    assert told["detail"]["webhook_posts"] >= 1
    assert {"requests", "host", "logs"} <= told["detail"]["rows_by_stream"].keys()
    assert told["peak_rss_bytes"] < 6 * 2**30
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "Lineage of one prediction" in page
    assert "the alert that asked for it" in page
    assert _processes_of(tmp_path) == []


def test_recorded_request_payloads(tmp_path: Path) -> None:
    """Real request payloads, arranged so that classes join later, pass through the loop without loss."""
    table = tmp_path / "arranged.csv"
    _arrange(_data() / "http_params" / "payload_train.csv", table)
    arguments = (
        "--replay",
        str(table),
        "--stream",
        "requests",
        "--history",
        "400",
        "--rate",
        "60",
        "--short",
    )
    done, told = _demo(tmp_path, *arguments)
    story = done.stdout[-6000:] + done.stderr[-2000:]
    assert done.returncode == 0, story
    assert (told["lost"], told["doubled"]) == (0, 0)
    assert told["accepted"] == told["warehouse_rows"] == told["predictions"] == 500
    assert told["accuracy"]["before"] > 0.5, story
    assert _processes_of(tmp_path) == []


def test_recorded_gas_sensors(tmp_path: Path) -> None:
    """Two batches of a drifting sensor array pass: the first teaches, the second is judged."""
    folder = _data() / "gas_sensor_drift"
    arguments = ["--replay", str(folder / "batch1.dat"), "--replay", str(folder / "batch2.dat")]
    arguments += ["--stream", "gas", "--history", "445", "--limit", "1100", "--rate", "100", "--short"]
    done, told = _demo(tmp_path, *arguments)
    story = done.stdout[-6000:] + done.stderr[-2000:]
    assert done.returncode == 0, story
    assert (told["lost"], told["doubled"]) == (0, 0)
    assert told["accepted"] == told["warehouse_rows"] == told["predictions"] == 655
    assert told["accuracy"]["before"] > 0.2, story
    assert _processes_of(tmp_path) == []


def _arrange(source: Path, target: Path) -> None:
    """Write 900 rows: normal and SQL injection first, the other attacks among the last 350."""
    random = Random(11)
    with source.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    by_class: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_class.setdefault(row["attack_type"], []).append(row)
    for found in by_class.values():
        random.shuffle(found)
    early = by_class["norm"][:350] + by_class["sqli"][:200]
    late = by_class["norm"][350:450] + by_class["sqli"][200:250]
    late += by_class["xss"][:90] + by_class["path-traversal"][:80] + by_class["cmdi"][:30]
    random.shuffle(early)
    random.shuffle(late)
    with target.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(early + late)
