"""What the protocol says of server and models, for both wires: a served model in, its metadata out."""

from importlib.metadata import version
from typing import Any, Final, NamedTuple

import msgspec

from serving.gateway.inference.tensors import BYTES, LABEL, SCORE, TEXT, VALUES
from serving.predictor import SensorPredictor
from serving.slot import Served

NAME: Final = "headrace"
VERSION: Final = version("headrace")
EXTENSIONS: Final = ("binary_tensor_data", "model_repository")
PLATFORM: Final = "onnxruntime_onnx"
READY: Final = "READY"
UNAVAILABLE: Final = "UNAVAILABLE"


class TensorMetadata(NamedTuple):
    """A tensor that a model takes or gives; -1 in its shape is the number of rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]


OUTPUTS: Final = (TensorMetadata(LABEL, BYTES, (-1,)), TensorMetadata(SCORE, "FP64", (-1,)))


class ModelMetadata(msgspec.Struct, frozen=True):
    """A model of the protocol, as JSON has it. `parameters` are Headrace's own, and not in gRPC."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    parameters: dict[str, Any]


def inputs_of(served: Served) -> tuple[TensorMetadata, ...]:
    """Return what a model takes."""
    predictor = served.predictor
    if isinstance(predictor, SensorPredictor):
        return (TensorMetadata(VALUES, "FP64", (-1, len(predictor.features))),)
    return (TensorMetadata(TEXT, BYTES, (-1,)),)


def metadata(served: Served) -> ModelMetadata:
    """Return a model's metadata; the order of `values` is in the parameter `features`."""
    parameters: dict[str, Any] = {"sha256": served.release.sha256, "stream": served.release.stream}
    if isinstance(served.predictor, SensorPredictor):
        parameters["features"] = list(served.predictor.features)
    return ModelMetadata(
        name=served.release.model,
        versions=(str(served.release.version),),
        platform=PLATFORM,
        inputs=tuple(tensor._asdict() for tensor in inputs_of(served)),
        outputs=tuple(tensor._asdict() for tensor in OUTPUTS),
        parameters=parameters,
    )


def answer_parameters(served: Served) -> dict[str, str | float]:
    """Return what an answer says beside its tensors: the release's digest, a regression's tolerance."""
    tolerance = served.predictor.tolerance
    known: dict[str, str | float] = {"sha256": served.release.sha256}
    return known if tolerance is None else {**known, "tolerance": tolerance}
