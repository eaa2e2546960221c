"""The protocol's JSON and the binary data behind it."""

import contextlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.gateway.inference.engine import Answered
from serving.gateway.inference.json_wire import read, write
from serving.gateway.inference.tensors import Raw, packed
from serving.gateway.problems import Refused
from serving.predictor import Answer
from serving.slot import Limits, load
from tests.unit.serving.releases import lay_out, tiny_text

INPUT = {"name": "text", "datatype": "BYTES", "shape": [2]}
BINARY = packed(["a", "b"])


def body(*inputs: dict[str, Any], **more: Any) -> bytes:
    """Encode a request's JSON."""
    return json.dumps({"inputs": inputs, **more}).encode()


@pytest.fixture
def answered(tmp_path: Path, pool: ThreadPoolExecutor) -> Answered:
    """Two answers of a real release."""
    served = load(lay_out(tmp_path, tiny_text(1), model="requests", version=4), pool, Limits())
    return Answered(served, [Answer("sqli", 0.75), Answer("benign", 0.5)])


def test_binary_data_follows_in_the_tensors_order():
    """Each tensor gets its own bytes, between plain ones too; nothing may be left over."""
    sized = {**INPUT, "parameters": {"binary_data_size": len(BINARY)}}
    head = body(sized, {**INPUT, "data": ["c", "d"]}, sized)
    request = read(head + BINARY + packed(["e", "f"]), str(len(head)))
    assert [one.contents.texts(2, 9) for one in request.inputs] == [["a", "b"], ["c", "d"], ["e", "f"]]
    for tail in (BINARY, BINARY + BINARY + b"x", b""):
        with pytest.raises(Refused) as refused:
            read(head + tail, str(len(head)))
        assert refused.value.status == 400


@pytest.mark.parametrize("length", ["", "0", "-1", "x", "99999999999999999999999", "٣", " 5", "1e3"])
def test_a_wrong_header_is_refused(length: str):
    """The JSON's length is a number from 1 to the body's."""
    with pytest.raises(Refused, match="Inference-Header-Content-Length"):
        read(body({**INPUT, "data": ["a", "b"]}), length)


@pytest.mark.parametrize(
    "request_body",
    [
        b"",
        b"[]",
        b'{"inputs": []}',
        b"\xff",
        b"[" * 100_000,
        body(INPUT),
        body({**INPUT, "data": ["a", "b"], "shape": [-1]}),
        body({**INPUT, "data": ["a", "b"], "shape": [2**70]}),
        body({**INPUT, "data": ["a", "b"], "shape": [1] * 9}),
        body({**INPUT, "parameters": {"binary_data_size": 0}}),
        body({**INPUT, "data": ["a", "b"], "parameters": {"shared_memory_region": "x"}}),
        body({**INPUT, "data": ["a", "b"]}, outputs=[{"name": "logits"}]),
        body({**INPUT, "data": ["a", "b"]}, outputs=[{"name": "label", "parameters": {"classification": 2}}]),
        body(*[{**INPUT, "data": ["a", "b"]}] * 17),
    ],
)
def test_a_body_that_is_no_request_is_refused(request_body: bytes):
    """Whatever is wrong with it, it is a 400."""
    with pytest.raises(Refused) as refused:
        read(request_body, None)
    assert refused.value.status == 400


@given(st.binary(max_size=200), st.none() | st.text(max_size=5) | st.integers(0, 220).map(str))
def test_garbage_never_breaks_the_reader(payload: bytes, length: str | None):
    """Any body and any header is read or refused."""
    with contextlib.suppress(Refused):
        read(payload, length)


def test_an_answer_is_plain_or_binary_as_asked(answered: Answered):
    """Binary for all outputs, for one of them, or for none; version, digest and id are there."""
    asked = read(body({**INPUT, "data": ["a", "b"]}, id="9", parameters={"binary_data_output": True}), None)
    content, length = write(asked.body, answered)
    document = json.loads(content[:length])
    assert (document["model_name"], document["model_version"], document["id"]) == ("requests", "4", "9")
    assert document["parameters"] == {"sha256": answered.served.release.sha256}
    labels, scores = document["outputs"]
    end = len(content) - scores["parameters"]["binary_data_size"]
    assert Raw(content[length:end]).texts(2, 99) == ["sqli", "benign"]
    assert np.frombuffer(content[end:], dtype="<f8").tolist() == [0.75, 0.5]
    assert labels["shape"] == scores["shape"] == [2]
    one = [{"name": "score"}, {"name": "label", "parameters": {"binary_data": True}}]
    content, length = write(read(body({**INPUT, "data": ["a", "b"]}, outputs=one), None).body, answered)
    score, label = json.loads(content[:length])["outputs"]
    assert (score["data"], content[length:]) == ([0.75, 0.5], packed(["sqli", "benign"]))
    assert label["parameters"] == {"binary_data_size": len(packed(["sqli", "benign"]))}
    content, length = write(read(body({**INPUT, "data": ["a", "b"]}), None).body, answered)
    assert length is None
    assert [output["data"] for output in json.loads(content)["outputs"]] == [["sqli", "benign"], [0.75, 0.5]]
