"""The protocol's JSON, with and without binary data behind it: a body in, tensors out, and answers back.

With the header `Inference-Header-Content-Length: n` the JSON ends after n bytes, and the data of each tensor
that has the parameter `binary_data_size` follows, in the order of the tensors.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from serving.gateway.inference.describe import OUTPUTS, answer_parameters
from serving.gateway.inference.engine import Answered
from serving.gateway.inference.tensors import BYTES, Contents, Numbers, Raw, Tensor, exactly, packed, text_of
from serving.gateway.problems import Refused

HEADER: Final = "inference-header-content-length"
_MAX_TENSORS: Final = 16
_ELSEWHERE: Final = ("shared_memory_region", "classification")
"""Parameters of Triton's that change where data lies or what is answered, and are not supported."""

T = TypeVar("T")

_TEXTS: Final = msgspec.json.Decoder(list[list[str] | str])
_VALUES: Final = msgspec.json.Decoder(list[list[float | None] | float | None])
_DIMENSION = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Input(msgspec.Struct, frozen=True):
    """A tensor of a request."""

    name: str
    datatype: str
    shape: Annotated[list[_DIMENSION], Meta(max_length=8)]
    parameters: dict[str, Any] = {}
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Wanted(msgspec.Struct, frozen=True):
    """An output that a request asks for."""

    name: str
    parameters: dict[str, Any] = {}


class Body(msgspec.Struct, frozen=True):
    """A request's JSON. Members and parameters that are not known change nothing."""

    inputs: Annotated[list[Input], Meta(min_length=1, max_length=_MAX_TENSORS)]
    outputs: Annotated[list[Wanted], Meta(max_length=_MAX_TENSORS)] = []
    id: str = ""
    parameters: dict[str, Any] = {}


class Request(NamedTuple):
    """A request: its JSON, and its inputs wherever their data came."""

    body: Body
    inputs: list[Tensor]


class Plain(NamedTuple):
    """Elements as JSON, flat or nested by rows; null is a missing number."""

    data: bytes

    def texts(self, count: int, max_bytes: int) -> list[str]:
        elements = _decoded(self.data, _TEXTS, "texts")
        flat = [text for one in elements for text in (one if isinstance(one, list) else [one])]
        for index, text in enumerate(exactly(flat, count)):
            text_of(text.encode(), index, max_bytes)
        return flat

    def numbers(self, count: int, datatype: str) -> Numbers:
        # However it is nested, a comma lies between two numbers: what is too long is seen before it is read.
        if self.data.count(b",") != count - 1:
            raise Refused(400, f"the shape says {count} elements and the data has another number of them")
        rows = _decoded(self.data, _VALUES, "numbers")
        flat = [value for one in rows for value in (one if isinstance(one, list) else [one])]
        if len(flat) != count:
            raise Refused(400, f"the shape says {count} elements and the data has {len(flat)}")
        return np.array([np.nan if value is None else value for value in flat], dtype=np.float64)


_BODY: Final = msgspec.json.Decoder(Body)
_OUTPUTS: Final = {output.name: output for output in OUTPUTS}
_ALL: Final = [Wanted(name) for name in _OUTPUTS]


def read(body: bytes, json_bytes: str | None) -> Request:
    """Read a request's body; `json_bytes` is the header's text, None without one.

    Raises:
        Refused: 400, it is no request of the protocol, or its parts do not fit together.
    """
    if json_bytes is None:
        end = len(body)
    elif not json_bytes.isascii() or not json_bytes.isdecimal() or not 0 < int(json_bytes[:20]) <= len(body):
        raise Refused(400, f"Inference-Header-Content-Length is {json_bytes[:40]!r}; the body: {len(body)}")
    else:
        end = int(json_bytes)
    view = memoryview(body)
    try:
        request = _BODY.decode(view[:end])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"the body is no inference request: {error}") from error
    parts: list[Input | Wanted] = [*request.inputs, *request.outputs]
    for part in parts:
        _check_parameters(part.name, part.parameters)
    check_outputs([output.name for output in request.outputs])
    inputs = []
    for given in request.inputs:
        contents, end = _contents(given, view, end, binary=json_bytes is not None)
        inputs.append(Tensor(given.name, given.datatype, tuple(given.shape), contents))
    if end != len(body):
        raise Refused(400, f"{len(body) - end} bytes of the body belong to no tensor")
    return Request(request, inputs)


def write(request: Body, answered: Answered) -> tuple[bytes, int | None]:
    """Return an answer's body, and how long its JSON is where binary data follows."""
    wanted = request.outputs or _ALL
    all_binary = request.parameters.get("binary_data_output", False)
    outputs, behind = [], []
    for output in wanted:
        tensor = _OUTPUTS[output.name]
        data = column(answered, output.name)
        described: dict[str, Any] = {"name": output.name, "datatype": tensor.datatype, "shape": [len(data)]}
        if output.parameters.get("binary_data", all_binary) is True:
            payload = raw(tensor.datatype, data)
            behind.append(payload)
            described["parameters"] = {"binary_data_size": len(payload)}
        else:
            described["data"] = data
        outputs.append(described)
    release = answered.served.release
    document = {
        "model_name": release.model,
        "model_version": str(release.version),
        **({"id": request.id} if request.id else {}),
        "parameters": answer_parameters(answered.served),
        "outputs": outputs,
    }
    encoded = msgspec.json.encode(document)
    return b"".join((encoded, *behind)), len(encoded) if behind else None


def check_outputs(names: Sequence[str]) -> None:
    """Refuse a request for an output that models do not give.

    Raises:
        Refused: 400.
    """
    for name in names:
        if name not in _OUTPUTS:
            raise Refused(400, f"models give {' and '.join(_OUTPUTS)}; the request asks for {name[:80]!r}")


def column(answered: Answered, output: str) -> list[Any]:
    """Return an output's elements: the labels, or the scores."""
    return [getattr(answer, output) for answer in answered.answers]


def raw(datatype: str, elements: list[Any]) -> bytes:
    """Return an output's elements in the protocol's binary form."""
    return packed(elements) if datatype == BYTES else np.array(elements, dtype="<f8").tobytes()


def _contents(given: Input, body: memoryview, at: int, *, binary: bool) -> tuple[Contents, int]:
    """Return a tensor's data and where in the body the next one's begins."""
    size = given.parameters.get("binary_data_size")
    if size is None:
        if given.data is msgspec.UNSET:
            raise Refused(400, f"input {given.name[:80]!r} has no data")
        return Plain(bytes(given.data)), at
    if given.data is not msgspec.UNSET or not binary:
        raise Refused(
            400,
            f"input {given.name[:80]!r} has binary_data_size: no data, and a header for the JSON's length",
        )
    if type(size) is not int or not 0 <= size <= len(body) - at:
        raise Refused(400, f"binary_data_size of {given.name[:80]!r} is not what the body holds")
    return Raw(body[at : at + size]), at + size


def _check_parameters(name: str, parameters: dict[str, Any]) -> None:
    for parameter in _ELSEWHERE:
        if parameter in parameters:
            raise Refused(400, f"{name[:80]!r}: the parameter {parameter} is not supported")


def _decoded(data: bytes, decoder: msgspec.json.Decoder[T], what: str) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"the data is no array of {what}: {error}") from error
