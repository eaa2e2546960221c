"""Sessions: the provider that is really there is used, and said, without a complaint on stderr."""

import pytest

from schemas.release import Task
from serving.release import BadRelease
from serving.session import Session, providers
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
