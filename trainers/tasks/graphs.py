"""A tuned network as an ONNX graph: consumes a torch module, produces a checked file and its parity."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from schemas.errors import Fatal
from trainers.encoder import OPSET, session
from trainers.quiet import quietly

TOLERANCE: Final = 1e-4
"""Largest difference between torch and the graph, relative where an output is above 1."""

Inputs = dict[str, Tensor]


def write(module: nn.Module, sample: Inputs, outputs: dict[str, dict[int, str]], path: Path) -> None:
    """Write the graph of `module`; `outputs` names its outputs and their axes that are free.

    The axes of every input are free: `rows`, then `tokens`.
    """
    module.eval()  # the exporter would put a module that it finds in training back into it, its parts as well
    axes = {name: dict(enumerate(("rows", "tokens")[: value.dim()])) for name, value in sample.items()}
    with quietly():
        torch.onnx.export(
            module, tuple(sample.values()), str(path), input_names=list(sample),
            output_names=list(outputs), dynamic_axes={**axes, **outputs}, opset_version=OPSET,
            dynamo=False,  # as the encoder's graph: the other exporter's cannot be quantised as it is
        )  # fmt: skip
    onnx.checker.check_model(str(path))


def parity(module: nn.Module, samples: Sequence[Inputs], path: Path) -> float:
    """Return the largest difference between a module and its graph on batches of several shapes.

    Raises:
        Fatal: it is above the tolerance.
    """
    running = session(path)
    worst = 0.0
    for sample in samples:
        with torch.inference_mode():
            expected = module(*sample.values())
        wanted = expected if isinstance(expected, tuple) else (expected,)
        found = running.run(None, {name: value.numpy() for name, value in sample.items()})
        for torch_out, graph_out in zip(wanted, found, strict=True):
            reference = torch_out.numpy()
            difference = np.abs(graph_out - reference) / np.maximum(1.0, np.abs(reference))
            worst = max(worst, float(difference.max()) if np.isfinite(difference).all() else float("inf"))
    if worst > TOLERANCE:
        raise Fatal(f"{path.name} differs from the tuned network by {worst:.2g}, more than {TOLERANCE:g}")
    return worst
