"""`headrace bench devices` on a tiny release: the CPU's figures are real, and what fails is said."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from infra.bench.devices.plan import DevicesPlan, subject
from infra.bench.devices.serving import Worth, right, ways, worths
from infra.bench.devices.tuning import devices
from infra.cli.main import app
from schemas.config import Stream
from schemas.errors import Fatal
from schemas.release import Task
from serving.session import Providers, providers
from tests.unit.serving.releases import folder_of, lay_out, sensor
from tests.unit.trainers import tiny
from trainers.bootstrap import train_first

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
QUICK = ["--batches", "1,3", "--seconds", "0.05", "--texts", "20", "--tokens", "6"]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release folder of a BERT of two small layers."""
    torch.set_num_threads(1)
    base = tiny.build(tmp_path_factory.mktemp("base"), "bert")
    stream = Stream.model_validate(
        {"kind": "log", "model": {"base": str(base), "learn": {"min_labels": 50}}, "gate": {"p99_ms": 500}}
    )
    return folder_of(train_first(tmp_path_factory.mktemp("home"), "logs", stream, tiny.lines(5, 300)))


def test_the_command_measures_serving_and_training(release: Path, tmp_path: Path) -> None:
    """Each graph runs at each size on the CPU and answers as FP32 does; the tuned network has its graphs."""
    asked = ["--release", str(release), *QUICK, "--steps", "12", "--home", str(tmp_path / "bench")]
    told = CliRunner().invoke(app, ["bench", "devices", *asked, "--json", "-"])
    assert told.exit_code == 0, told.output
    said = json.loads(told.stdout)
    assert said["usable"][-1] == CPU
    graphs = said["serving"][CPU]
    assert set(graphs) == {"fp32", "fp16", "int8"}
    assert graphs["fp32"]["max_difference"] == graphs["fp32"]["score_difference"] == 0.0
    assert graphs["fp32"]["independent"]
    assert 0.0 < graphs["fp16"]["max_difference"] < 0.1
    assert all(set(one["batches"]) == {"1", "3"} and one["agreement"] >= 0.98 for one in graphs.values())
    assert all(run["rows_per_s"] > 0 for one in graphs.values() for run in one["batches"].values())
    tuned = said["training"]["cpu"]
    assert tuned["precision"] == "float32"
    assert tuned["steps"] >= 12
    assert tuned["parity"]["parity"] < 1e-4
    assert len(tuned["losses"]) == 10 and 0.0 < max(tuned["losses"]) < 1.0


def test_a_probe_says_what_works_and_why_the_rest_does_not() -> None:
    """Nothing is measured; every provider is usable or has its reason."""
    told = CliRunner().invoke(app, ["bench", "devices", "--probe", "--json", "-"])
    said = json.loads(told.stdout)
    assert told.exit_code == 0
    assert {*said["usable"], *said["missing"]} == {CPU, CUDA, TENSORRT}


def test_each_provider_is_asked_with_those_that_take_what_it_leaves() -> None:
    """The CPU comes first, for the others are compared with it; CUDA also in its own default, TF32."""
    found = [(way.name, way.found.usable, way.exact) for way in ways(Providers((TENSORRT, CUDA, CPU), {}))]
    assert found == [
        (CPU, (CPU,), True),
        (CUDA, (CUDA, CPU), True),
        (f"{CUDA}, TF32", (CUDA, CPU), False),
        (TENSORRT, (TENSORRT, CUDA, CPU), True),
    ]


def test_a_provider_that_takes_nothing_has_its_reason(release: Path, tmp_path: Path) -> None:
    """It is no figure of the CPU's under another's name, and the run has failed."""
    plan = DevicesPlan(tmp_path, (1, 2), 6, 0.05, 10)
    told = worths(subject(release, plan), Providers(("NoSuchProvider", CPU), {}), plan, lambda _line: None)
    assert all(one.failed.startswith("passed over: ") for one in told["NoSuchProvider"].values())
    assert right({CPU: told[CPU]})
    assert not right(told)
    assert not right({CPU: {"fp32": Worth(agreement=0.97)}})


def test_a_model_of_readings_is_refused(tmp_path: Path) -> None:
    """And a folder that holds no release; the message says what is wanted."""
    plan = DevicesPlan(tmp_path)
    readings = folder_of(lay_out(tmp_path / "r", sensor(1, Task.ANOMALY), model="m", version=1))
    with pytest.raises(Fatal, match="compared by a classifier of texts"):
        subject(readings, plan)
    with pytest.raises(Fatal, match="is no release folder"):
        subject(tmp_path, plan)


@pytest.mark.parametrize("sizes", ["", "0", "one", "1,9999"])
def test_sizes_that_are_none_are_named(sizes: str) -> None:
    """Before anything is measured."""
    told = CliRunner().invoke(app, ["bench", "devices", "--batches", sizes])
    assert told.exit_code == 2
    assert "--batches" in told.output


def test_the_trainer_s_own_choice_comes_beside_the_processor() -> None:
    """Without a GPU there is one device, with one there are two; the processor computes in float32."""
    found = devices()
    assert (found[0].name, found[0].precision) == ("cpu", torch.float32)
    assert len(found) == 1 + torch.cuda.is_available()
    assert providers().usable[-1] == CPU
