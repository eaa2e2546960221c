"""FP16: consumes an FP32 graph, produces one of half the size whose inputs and outputs stay as they were.

It is for GPUs. ONNX Runtime's CPU provider runs it with casts around each product: right, and no faster.
"""

from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from trainers.quiet import quietly


def halve(full: Path, target: Path) -> None:
    """Write `full` with weights and arithmetic in FP16, int64 in and float32 out."""
    with quietly():
        model = convert_float_to_float16(onnx.load(full), keep_io_types=True)
    onnx.save(model, target)
    onnx.checker.check_model(str(target))
