"""What a request declares is checked before anything is made of it."""

import contextlib
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.release import Task
from serving.gateway.inference.json_wire import Plain
from serving.gateway.inference.tensors import Limits, Raw, Tensor, packed, row_count, rows_of
from serving.gateway.problems import Refused
from serving.predictor import Predictor
from serving.slot import Limits as Kept
from serving.slot import load
from tests.unit.serving.releases import lay_out, sensor, tiny_text

LIMITS = Limits(max_rows=4, max_text_bytes=10)
NAN = float("nan")


@pytest.fixture
def readings(tmp_path: Path, pool: ThreadPoolExecutor) -> Predictor:
    """A loaded model of three readings."""
    release = lay_out(tmp_path, sensor(1, Task.ANOMALY), model="host", version=1)
    return load(release, pool, Kept()).predictor


@pytest.fixture
def texts(tmp_path: Path, pool: ThreadPoolExecutor) -> Predictor:
    """A loaded text model."""
    return load(lay_out(tmp_path, tiny_text(1), model="requests", version=1), pool, Kept()).predictor


class Untouchable:
    """Contents that must not be read."""

    def texts(self, count: int, max_bytes: int):
        raise AssertionError("the contents were read")

    def numbers(self, count: int, datatype: str):
        raise AssertionError("the contents were read")


def tensor(name: str, datatype: str, *shape: int) -> Tensor:
    """A tensor whose contents nobody may read yet."""
    return Tensor(name, datatype, shape, Untouchable())


@given(st.lists(st.text(max_size=20), max_size=6))
def test_texts_survive_the_binary_form(given_texts: list[str]):
    """What is packed is read again, whatever the texts are."""
    assert Raw(packed(given_texts)).texts(len(given_texts), 100) == given_texts


@given(st.binary(max_size=60), st.integers(0, 5))
def test_binary_garbage_is_refused_or_read(payload: bytes, count: int):
    """Any bytes give exactly the texts that were declared, or a refusal."""
    with contextlib.suppress(Refused):
        assert len(Raw(payload).texts(count, 10)) == count


@pytest.mark.parametrize(
    ("payload", "status", "reason"),
    [
        (struct.pack("<I", 2**32 - 1) + b"a", 400, "more than there are"),
        (b"\1\0", 400, "something else"),
        (packed(["a"]), 400, "2 elements"),
        (packed(["a", "b", "c"]), 400, "something else"),
        (packed(["a", "x" * 11]), 413, "11 bytes"),
        (packed(["a", "b"])[:-1] + b"\xff", 400, "not UTF-8"),
    ],
)
def test_a_wrong_binary_text_is_named(payload: bytes, status: int, reason: str):
    """Lengths beyond the data, other counts, texts too large or no UTF-8: each with its reason."""
    with pytest.raises(Refused, match=reason) as refused:
        Raw(payload).texts(2, 10)
    assert refused.value.status == status


@given(st.lists(st.floats(width=32), min_size=1, max_size=6))
def test_numbers_of_both_datatypes(values: list[float]):
    """FP32 and FP64 are read as they are, NaN included; another length is refused."""
    for datatype, kind in (("FP32", "<f4"), ("FP64", "<f8")):
        payload = np.array(values, dtype=kind).tobytes()
        np.testing.assert_array_equal(Raw(payload).numbers(len(values), datatype), np.array(values))
        with pytest.raises(Refused, match="bytes of binary data"):
            Raw(payload).numbers(len(values) + 1, datatype)


@pytest.mark.parametrize("data", [b"[1, null, 3, 4]", b"[[1,null],[3,4]]"])
def test_json_numbers_flat_or_by_rows(data: bytes):
    """Both forms are the same elements; null is missing."""
    np.testing.assert_array_equal(Plain(data).numbers(4, "FP64"), [1, NAN, 3, 4])
    with pytest.raises(Refused, match="3 elements"):
        Plain(data).numbers(3, "FP64")


@pytest.mark.parametrize(
    "data", [b'[1,"a"]', b"[1,2", b"[[[1],[2]]]", b'{"a":1,"b":2}', b"[true,1]", b"[1e999,1]"]
)
def test_json_that_is_no_numbers_is_refused(data: bytes):
    """Other types, deeper nesting and broken JSON are a 400."""
    with pytest.raises(Refused) as refused:
        Plain(data).numbers(2, "FP64")
    assert refused.value.status == 400


def test_json_texts_flat_or_as_a_column():
    """Both forms are the same texts; one too large is a 413."""
    assert Plain(b'["a","\\u00e4"]').texts(2, 10) == Plain(b'[["a"],["\\u00e4"]]').texts(2, 10) == ["a", "ä"]
    with pytest.raises(Refused, match="6 bytes") as refused:
        Plain(b'["\\u00e4\\u00e4\\u00e4"]').texts(1, 5)
    assert refused.value.status == 413


def test_what_is_declared_is_checked_first(texts: Predictor, readings: Predictor):
    """Name, datatype, shape and number of rows are refused without a look at the contents."""
    wrong = [
        (texts, [], 400),
        (texts, [tensor("text", "BYTES", 1)] * 2, 400),
        (texts, [tensor("values", "FP64", 1, 3)], 400),
        (texts, [tensor("text", "FP32", 1)], 400),
        (texts, [tensor("text", "BYTES")], 400),
        (texts, [tensor("text", "BYTES", 0)], 400),
        (texts, [tensor("text", "BYTES", -1)], 400),
        (texts, [tensor("text", "BYTES", 1, 2)], 400),
        (texts, [tensor("text", "BYTES", 5)], 413),
        (readings, [tensor("values", "INT64", 1, 3)], 400),
        (readings, [tensor("values", "FP32", 3)], 400),
        (readings, [tensor("values", "FP32", 1, 2**40)], 400),
        (readings, [tensor("values", "FP32", 2**40, 3)], 413),
    ]
    for predictor, inputs, status in wrong:
        with pytest.raises(Refused) as refused:
            row_count(predictor, inputs, LIMITS)
        assert refused.value.status == status, inputs
    assert row_count(texts, [tensor("text", "BYTES", 4, 1)], LIMITS) == 4
    assert row_count(readings, [tensor("values", "FP64", 2, 3)], LIMITS) == 2


def test_readings_come_in_the_features_order(readings: Predictor):
    """NaN stays where a reading is missing; an infinite one is refused by its feature's name."""
    payload = np.array([[1, 2, 3], [4, NAN, 6]], dtype="<f4").tobytes()
    given_tensor = Tensor("values", "FP32", (2, 3), Raw(payload))
    np.testing.assert_array_equal(
        np.array(rows_of(readings, given_tensor, LIMITS)), np.array([[1, 2, 3], [4, NAN, 6]])
    )
    for row in ([1, np.inf, 2], [NAN, -np.inf, np.inf]):
        endless = Tensor("values", "FP64", (2, 3), Raw(np.array([[1, 2, 3], row], dtype="<f8").tobytes()))
        with pytest.raises(Refused, match="'disk' of row 1 is infinite"):
            rows_of(readings, endless, LIMITS)
