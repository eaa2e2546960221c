"""Static INT8: consumes an FP32 encoder's graph and token ids, produces a graph with fixed activation scales.

Dynamic INT8 takes one scale from all rows of a batch, so an answer hangs on its batch mates; here the scales
are constants, and an answer is the same alone, in company and padded. Only the inputs of products with
constant weights are quantised, and the embedding tables: their outputs stay FP32, which costs no time and
keeps the answers nearer to FP32 (decision 0024).
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from schemas.errors import Fatal
from trainers.encoder import padded
from trainers.quiet import quietly

Method = Literal["minmax", "entropy", "percentile"]

ROWS: Final = 128
"""Texts that calibrate: twice as many changed no more answers than another draw of as many does."""

_METHODS: Final = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
_OPERATIONS: Final = ["MatMul", "Gather"]
_AT_ONCE: Final = 8
"""Rows whose ranges are held before they are merged. Histograms take whole tensors: one row at a time."""


class _Texts(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime is untyped
    """Gives token ids row by row, in the strides that the calibration asks for."""

    def __init__(self, ids: Sequence[Sequence[int]]) -> None:
        self._ids = ids
        self.set_range(0, len(ids))

    def __len__(self) -> int:
        return len(self._ids)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give the rows from one number to before another next."""
        self._left = iter(self._ids[start_index:end_index])

    def get_next(self) -> Mapping[str, Any] | None:
        """Return the next row's inputs, (1, T) each, or None."""
        row = next(self._left, None)
        return None if row is None else padded([row])


def quantise(
    full: Path, target: Path, ids: Sequence[Sequence[int]], *, method: Method = "minmax",
    excluded: Sequence[str] = (),
) -> None:  # fmt: skip
    """Write `full` as QDQ INT8: unsigned activations, signed weights per channel.

    `ids` are the token ids of texts as the model will see them, at most `ROWS` of which are used; `excluded`
    names nodes (or the ends of their names) that stay FP32.

    Raises:
        Fatal: there is no text to calibrate with.
    """
    ids = ids[:ROWS]
    stride = _AT_ONCE if method == "minmax" else 1
    ids = ids[: len(ids) - len(ids) % stride] if len(ids) > stride else ids
    if not ids:
        raise Fatal("static INT8 needs texts to calibrate with, and there are none")
    with tempfile.TemporaryDirectory(prefix="headrace-static-") as scratch, quietly():
        prepared = Path(scratch) / "prepared.onnx"
        # Positions are cut to Min(512, tokens), which symbolic inference does not follow; ONNX's own does.
        quant_pre_process(str(full), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared), str(target), _Texts(ids),
            quant_format=QuantFormat.QDQ, op_types_to_quantize=_OPERATIONS, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            nodes_to_exclude=_kept_full(prepared, excluded), calibrate_method=_METHODS[method],
            extra_options={
                "CalibStridedMinMax": min(stride, len(ids)),
                "CalibPercentile": 99.99,
                "OpTypesToExcludeOutputQuantization": _OPERATIONS,
            },
        )  # fmt: skip
    onnx.checker.check_model(str(target))


def _kept_full(graph: Path, excluded: Sequence[str]) -> list[str]:
    """Return the products of two activations (attention's own), whatever was named, by name."""
    parts = onnx.load(graph).graph
    weights = {weight.name for weight in parts.initializer}
    return [
        node.name
        for node in parts.node
        if (node.op_type == "MatMul" and not weights.intersection(node.input))
        or any(node.name.endswith(name) for name in excluded)
    ]
