"""Providers and TensorRT engines: what is asked for, told without a GPU by saying which providers exist."""

from pathlib import Path

import pytest

from schemas.release import Task
from serving.engines import CUDA, TENSORRT, Engines, asked, text_shapes, version_of
from serving.release import BadRelease
from serving.session import Providers, Session
from tests.unit.serving.releases import sensor

CPU = "CPUExecutionProvider"
EXACT = (CUDA, {"use_tf32": 0})


def test_tensorrt_comes_first_with_its_cache_and_profile(tmp_path: Path) -> None:
    """Order TensorRT, CUDA, CPU; the profile spans one token to the largest batch."""
    engines = Engines(tmp_path, "NVIDIA H100 80GB HBM3", "10.9.0")
    wanted = asked((TENSORRT, CUDA, CPU), b"graph", engines, text_shapes(16, 64))
    assert isinstance(wanted[0], tuple)
    name, options = wanted[0]
    assert (name, wanted[1:]) == (TENSORRT, [EXACT, CPU])
    assert options["trt_profile_min_shapes"] == "input_ids:1x1,attention_mask:1x1"
    assert options["trt_profile_opt_shapes"] == "input_ids:1x16,attention_mask:1x16"
    assert options["trt_profile_max_shapes"] == "input_ids:16x64,attention_mask:16x64"
    assert Path(options["trt_engine_cache_path"]).is_dir()
    assert Path(options["trt_engine_cache_path"]).name.endswith("-NVIDIA-H100-80GB-HBM3-trt10.9.0")


@pytest.mark.parametrize("changed", ["graph", "gpu", "tensorrt"])
def test_an_engine_is_never_used_for_another_graph_gpu_or_version(tmp_path: Path, changed: str) -> None:
    """Whatever differs, the folder does."""
    engines = Engines(tmp_path, "A", "10")
    other = engines._replace(gpu="B") if changed == "gpu" else engines
    other = other._replace(tensorrt="11") if changed == "tensorrt" else other
    assert engines.of(b"one") == engines.of(b"one")
    assert engines.of(b"one") != other.of(b"two" if changed == "graph" else b"one")


def test_without_a_place_for_engines_tensorrt_is_left_out(tmp_path: Path) -> None:
    """It would build for minutes at every start; CUDA serves then."""
    assert asked((TENSORRT, CUDA, CPU), b"graph", None, text_shapes(16, 64)) == [EXACT, CPU]
    assert asked((TENSORRT, CPU), b"graph", Engines(tmp_path, "A", "10"), {}) == [CPU]


def test_cuda_multiplies_fp32_as_such_unless_told_otherwise() -> None:
    """TF32 is its default; who measures may ask for it."""
    assert asked((CUDA, CPU), b"graph", None, {}) == [EXACT, CPU]
    assert asked((CUDA, CPU), b"graph", None, {}, exact=False) == [(CUDA, {"use_tf32": 1}), CPU]


def test_the_version_is_what_the_library_calls_itself() -> None:
    """TensorRT 10 counts ten thousands and hundreds."""
    assert [version_of(number) for number in (101601, 100900, 110004)] == ["10.16.1", "10.9.0", "11.0.4"]


def test_a_provider_that_cannot_be_loaded_is_passed_over() -> None:
    """The graph is opened on the next one; only what no provider takes is a bad release."""
    graph = sensor(1, Task.ANOMALY).graphs["fp32"]
    found = Providers(("NoSuchExecutionProvider", CPU), {})
    session = Session(graph, inputs=("values",), outputs=("score",), found=found)
    assert session.provider == CPU
    assert list(session.passed_over) == ["NoSuchExecutionProvider"]
    with pytest.raises(BadRelease, match="the ONNX graph does not load"):
        Session(b"no graph", inputs=("values",), outputs=("score",), found=found)
