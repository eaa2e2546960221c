"""Tensors of a request in, rows for a model out: what was declared is checked before anything is made of it.

A text model takes `text`, BYTES [N] or [N, 1]: texts as cleaning leaves them, which the column `text` of the
table `events` has. A model of readings takes `values`, FP32 or FP64 [N, F], in the order of the release's
features; NaN is a missing reading.
"""

import math
import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from serving.gateway.problems import Refused
from serving.predictor import Predictor, SensorPredictor

TEXT: Final = "text"
VALUES: Final = "values"
LABEL: Final = "label"
SCORE: Final = "score"
BYTES: Final = "BYTES"
NUMBERS: Final[dict[str, np.dtype[Any]]] = {"FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}

_LENGTH: Final = struct.Struct("<I")

Numbers = npt.NDArray[np.float64]
Rows = list[str] | Numbers
"""What a model is asked: texts, or readings (N, F) in the order of its features, NaN for what is missing."""


class Contents(Protocol):
    """A tensor's elements as they came by one of the wires. `count` is what the checked shape says."""

    def texts(self, count: int, max_bytes: int) -> list[str]:
        """Return the elements of BYTES.

        Raises:
            Refused: 400, they are not `count` texts of UTF-8; 413, one is larger than `max_bytes`.
        """
        ...

    def numbers(self, count: int, datatype: str) -> Numbers:
        """Return the elements of FP32 or FP64, NaN for what is missing.

        Raises:
            Refused: 400, they are not `count` numbers.
        """
        ...


class Tensor(NamedTuple):
    """An input of a request."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    contents: Contents


class Limits(NamedTuple):
    """What one request may ask of a model."""

    max_rows: int
    max_text_bytes: int


class Raw(NamedTuple):
    """Elements in the protocol's binary form: numbers as they are, a text after its length in four bytes."""

    payload: bytes | memoryview

    def texts(self, count: int, max_bytes: int) -> list[str]:
        payload, texts, at = memoryview(self.payload), list[str](), 0
        while at < len(payload):
            if len(texts) == count or at + _LENGTH.size > len(payload):
                raise Refused(400, f"the binary data holds something else than {count} texts")
            (length,) = _LENGTH.unpack_from(payload, at)
            at += _LENGTH.size
            if at + length > len(payload):
                raise Refused(400, f"text {len(texts)} is said to have {length} bytes, more than there are")
            texts.append(text_of(bytes(payload[at : at + length]), len(texts), max_bytes))
            at += length
        return exactly(texts, count)

    def numbers(self, count: int, datatype: str) -> Numbers:
        kind = NUMBERS[datatype]
        if len(self.payload) != count * kind.itemsize:
            found = f"{len(self.payload)} bytes of binary data"
            raise Refused(400, f"{found}; {count} elements of {datatype} have {count * kind.itemsize}")
        return np.frombuffer(self.payload, dtype=kind).astype(np.float64)


def text_of(element: bytes, index: int, max_bytes: int) -> str:
    """Read one element of BYTES.

    Raises:
        Refused: 413 larger than `max_bytes`, 400 no UTF-8.
    """
    if len(element) > max_bytes:
        raise Refused(413, f"text {index} has {len(element)} bytes; at most {max_bytes} are taken")
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise Refused(400, f"text {index} is not UTF-8: {error.reason} at byte {error.start}") from error


def exactly(elements: list[str], count: int) -> list[str]:
    """Return the elements again if they are as many as the shape says.

    Raises:
        Refused: 400, they are not.
    """
    if len(elements) != count:
        raise Refused(400, f"the shape says {count} elements and the data has {len(elements)}")
    return elements


def row_count(predictor: Predictor, inputs: Sequence[Tensor], limits: Limits) -> int:
    """Check what the inputs declare, none of their contents; return how many rows they are.

    Raises:
        Refused: 400, another name, datatype or shape than the model's; 413, too many rows.
    """
    name, kinds = (TEXT, {BYTES}) if predictor.family == "text" else (VALUES, set(NUMBERS))
    if [tensor.name for tensor in inputs] != [name]:
        given = ", ".join(repr(tensor.name[:80]) for tensor in inputs[:8]) or "none"
        raise Refused(400, f"the model takes one input, {name!r}; the request has {given}")
    (tensor,) = inputs
    if tensor.datatype not in kinds:
        raise Refused(400, f"{name!r} is {' or '.join(sorted(kinds))}, not {tensor.datatype[:16]}")
    width = _width(predictor)
    wanted = f"[N, {width}]" if name == VALUES else "[N] or [N, 1]"
    shape = tensor.shape
    fits = len(shape) == 2 and shape[1] == width if name == VALUES else shape[1:] in {(), (1,)}
    if not shape or not fits or shape[0] < 1:
        raise Refused(400, f"the shape of {name!r} is {wanted} with N from 1 on, not {list(shape[:8])}")
    if shape[0] > limits.max_rows:
        raise Refused(413, f"{shape[0]} rows in one request; send at most {limits.max_rows}")
    return shape[0]


def rows_of(predictor: Predictor, tensor: Tensor, limits: Limits) -> Rows:
    """Return the rows of an input that `row_count` accepted.

    Raises:
        Refused: 400 or 413, its contents are not what was declared; 400, a reading is infinite.
    """
    count = tensor.shape[0]
    if not isinstance(predictor, SensorPredictor):
        return tensor.contents.texts(count, limits.max_text_bytes)
    width = len(predictor.features)
    values = tensor.contents.numbers(count * width, tensor.datatype).reshape(count, width)  # (N, F)
    if not math.isfinite(np.add.reduce(values, axis=None)) and np.isinf(values).any():
        row, column = np.argwhere(np.isinf(values))[0].tolist()
        raise Refused(400, f"{predictor.features[column]!r} of row {row} is infinite; NaN says missing")
    return values


def packed(texts: Sequence[str]) -> bytes:
    """Return texts in the protocol's binary form."""
    encoded = [text.encode() for text in texts]
    return b"".join(part for text in encoded for part in (_LENGTH.pack(len(text)), text))


def _width(predictor: Predictor) -> int:
    return len(predictor.features) if isinstance(predictor, SensorPredictor) else 1
