"""Sessions: the provider that is really there is used, and said, without a complaint on stderr."""

import pytest

from schemas.release import Task
from serving.release import BadRelease
from serving.session import Session, providers, reason_of
from tests.unit.serving.releases import sensor


def test_every_provider_is_usable_or_missing_for_a_reason() -> None:
    """The processor always works; a GPU provider either comes before it or has its reason."""
    found = providers()
    assert found.usable[-1] == "CPUExecutionProvider"
    for name in ("TensorrtExecutionProvider", "CUDAExecutionProvider"):
        assert (name in found.usable) != bool(found.missing.get(name))


def test_a_session_says_which_provider_it_got(capfd: pytest.CaptureFixture[str]) -> None:
    """Opening one prints nothing of ONNX Runtime's own, whatever libraries are missing."""
    graph = sensor(1, Task.ANOMALY).graphs["fp32"]
    session = Session(graph, inputs=("values",), outputs=("logits", "score"))
    assert session.provider in providers().usable
    assert session.output == "score"
    assert "onnxruntime" not in capfd.readouterr().err


def test_a_graph_with_other_outputs_is_refused() -> None:
    """The message names what it gives and what is wanted."""
    graph = sensor(1, Task.ANOMALY).graphs["fp32"]
    with pytest.raises(BadRelease, match=r"gives \['score'\], none of \['logits'\]"):
        Session(graph, inputs=("values",), outputs=("logits",))


def test_a_reason_is_what_cuda_says() -> None:
    """ONNX Runtime wraps it into lines of C++; of other errors the first line is told, or their name."""
    raised = (
        "/src/cuda_call.cc:154 std::conditional_t<THRW, void> CudaCall(ERRTYPE) CUDA failure 35: CUDA driver "
        "version is insufficient for CUDA runtime version ; GPU=-1 ; hostname=host ; line=355 ;"
    )
    told = "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"
    assert reason_of(RuntimeError(raised)) == told
    assert reason_of(ValueError("no such thing\nat all")) == "no such thing"
    assert reason_of(RuntimeError()) == "RuntimeError"
