"""The protocol's gRPC messages: a request in, tensors out, and answers back in the request's form."""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np

from serving.gateway.inference.describe import OUTPUTS, answer_parameters
from serving.gateway.inference.engine import Answered
from serving.gateway.inference.generated import open_inference_pb2 as messages
from serving.gateway.inference.json_wire import check_outputs, column, raw
from serving.gateway.inference.tensors import BYTES, Contents, Numbers, Raw, Tensor, exactly, text_of
from serving.gateway.problems import Refused

_FIELDS: Final = {"FP32": "fp32_contents", "FP64": "fp64_contents"}


class Typed(NamedTuple):
    """Elements in the message's field for their datatype."""

    contents: Any

    def texts(self, count: int, max_bytes: int) -> list[str]:
        found = self.contents.bytes_contents
        if len(found) != count:
            raise Refused(400, f"the shape says {count} elements and bytes_contents has {len(found)}")
        return exactly([text_of(one, index, max_bytes) for index, one in enumerate(found)], count)

    def numbers(self, count: int, datatype: str) -> Numbers:
        found = getattr(self.contents, _FIELDS[datatype])
        if len(found) != count:
            raise Refused(400, f"the shape says {count} elements and {_FIELDS[datatype]} has {len(found)}")
        return np.array(found, dtype=np.float64)


def read(request: messages.ModelInferRequest) -> list[Tensor]:
    """Return a request's inputs.

    Raises:
        Refused: 400, raw and typed contents are mixed, or an output is unknown.
    """
    check_outputs([output.name for output in request.outputs])
    raws = request.raw_input_contents
    if raws and len(raws) != len(request.inputs):
        raise Refused(400, f"{len(raws)} raw_input_contents for {len(request.inputs)} inputs")
    inputs = []
    for index, given in enumerate(request.inputs):
        if raws and given.HasField("contents"):
            raise Refused(400, f"input {given.name[:80]!r} has contents beside raw_input_contents")
        contents: Contents = Raw(raws[index]) if raws else Typed(given.contents)
        inputs.append(Tensor(given.name, given.datatype, tuple(given.shape), contents))
    return inputs


def write(request: messages.ModelInferRequest, answered: Answered) -> messages.ModelInferResponse:
    """Return an answer: raw where the request was, else in the fields of the datatypes."""
    release = answered.served.release
    response = messages.ModelInferResponse(
        model_name=release.model, model_version=str(release.version), id=request.id
    )
    for name, value in answer_parameters(answered.served).items():
        choice = "string_param" if isinstance(value, str) else "double_param"
        setattr(response.parameters[name], choice, value)
    for output in _wanted([output.name for output in request.outputs]):
        data = column(answered, output.name)
        tensor = response.outputs.add(name=output.name, datatype=output.datatype, shape=[len(data)])
        if request.raw_input_contents:
            response.raw_output_contents.append(raw(output.datatype, data))
        elif output.datatype == BYTES:
            tensor.contents.bytes_contents.extend(text.encode() for text in data)
        else:
            tensor.contents.fp64_contents.extend(data)
    return response


def _wanted(names: list[str]) -> Iterable[Any]:
    by_name = {output.name: output for output in OUTPUTS}
    return [by_name[name] for name in names] if names else OUTPUTS
