"""ONNX graphs of a candidate: consumes a tuned network and its encoder's graphs, produces the release's.

A text head is spliced behind the encoder's finished graph, in FP32 also where the encoder is INT8, so that an
increment costs neither an export nor a quantisation (decision 0006). Sensor networks are built node by node.
"""

from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from trainers.dataset import Array
from trainers.encoder import OPSET, Encoder, Precision, padded, session
from trainers.perceptron import Perceptron

_IR: Final = 9
"""The file format of opset 17's time: every ONNX Runtime since 1.14 reads it."""


_PRECISIONS: Final[dict[str, Precision]] = {kind: kind for kind in get_args(Precision)}


def network_nodes(
    network: Perceptron, source: str, target: str
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return the nodes and weights that compute `network` from tensor `source` into tensor `target`."""
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def constant(name: str, value: Array | float) -> str:
        weights.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), f"head.{name}"))
        return f"head.{name}"

    def add(operation: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"head.{operation.lower()}.{len(nodes)}"
        nodes.append(helper.make_node(operation, inputs, [output], **attributes))
        return output

    centre = constant("centre", network.centre.numpy())
    filled = add("Where", [add("IsNaN", [source]), centre, source])
    scaled = add("Div", [add("Sub", [filled, centre]), constant("scale", network.scale.numpy())])
    limit = network.clip
    standard = add("Clip", [scaled, constant("low", -limit), constant("high", limit)])

    hidden = standard
    last = len(network.layers) - 1
    for number, layer in enumerate(network.layers):
        state = {name: value.detach().numpy() for name, value in layer.state_dict().items()}
        inputs = [
            hidden,
            constant(f"{number}.weight", state["weight"]),
            constant(f"{number}.bias", state["bias"]),
        ]
        final = number == last and network.kind == "classifier"
        hidden = add("Gemm", inputs, target if final else "", transB=1)
        if number < last:
            hidden = add("Relu", [hidden])
    if network.kind == "autoencoder":
        error = add("Sub", [hidden, standard])
        mean = add("ReduceMean", [add("Mul", [error, error])], axes=[1], keepdims=0)
        add("Div", [mean, constant("threshold", network.threshold.numpy())], target)
    elif network.kind == "regressor":
        add("ReduceMean", [hidden], target, axes=[1], keepdims=0)  # of one column: itself, (B,)
    return nodes, weights


def sensor_graph(network: Perceptron) -> onnx.ModelProto:
    """Return the graph `values` (B, F) to `logits` (B, C), or to a number or anomaly `score` (B,)."""
    name = "logits" if network.kind == "classifier" else "score"
    nodes, weights = network_nodes(network, "values", name)
    shape: list[str | int | None] = ["rows", network.sizes[-1]] if name == "logits" else ["rows"]
    graph = helper.make_graph(
        nodes,
        "headrace-sensor",
        [helper.make_tensor_value_info("values", TensorProto.FLOAT, ["rows", network.sizes[0]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR)


def text_graph(encoder_graph: Path, head: Perceptron) -> onnx.ModelProto:
    """Return the encoder's graph with `head` behind it: `input_ids`, `attention_mask` to `logits` (B, C)."""
    model = onnx.load(encoder_graph)
    nodes, weights = network_nodes(head, model.graph.output[0].name, "logits")
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(weights)
    del model.graph.output[:]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", len(head.labels)])
    model.graph.output.append(logits)
    model.ir_version = max(model.ir_version, _IR)
    return model


def write(folder: Path, network: Perceptron, encoder: Encoder | None) -> dict[str, str]:
    """Write the graphs of a candidate into `folder`, checked, and return variant to file name.

    Sensor networks have one variant: at tens of kilobytes INT8 gains nothing.
    """
    precisions: tuple[Precision, ...] = ("fp32", "int8") if encoder else ("fp32",)
    variants: dict[str, str] = {}
    for precision in precisions:
        model = text_graph(encoder.graph(precision), network) if encoder else sensor_graph(network)
        if not encoder:
            onnx.checker.check_model(model, full_check=True)
        variants[precision] = f"model.{precision}.onnx"
        onnx.save(model, folder / variants[precision])
        onnx.checker.check_model(str(folder / variants[precision]))
    return variants


def run_text(running: ort.InferenceSession, encoder: Encoder, texts: list[str]) -> Array:
    """Return (N, C) logits of a text graph, run as serving runs it: one row at a time, its own length."""
    rows = [running.run(None, padded([ids]))[0][0] for ids in encoder.tokens(texts)]
    stacked: Array = np.stack(rows).astype(np.float32)
    return stacked


def run_sensor(running: ort.InferenceSession, values: Array) -> Array:
    """Return the logits (N, C), or the numbers or scores (N,), of a sensor graph."""
    out: Array = running.run(None, {"values": values})[0]
    return out


def parity(
    folder: Path,
    variants: dict[str, str],
    network: Perceptron,
    encoder: Encoder | None,
    sample: list[str] | Array,
) -> dict[str, float]:
    """Return, for each variant, the largest difference between its graph and torch on a sample.

    An INT8 graph is compared with the torch head behind the INT8 encoder: the head itself must be exact.
    """
    worst: dict[str, float] = {}
    for precision, file in variants.items():
        running = session(folder / file)
        if encoder is not None and isinstance(sample, list):
            kind = _PRECISIONS[precision]
            graph, torch_out = (
                run_text(running, encoder, sample),
                network.answer(encoder.features(sample, kind)),
            )
        else:
            values = np.asarray(sample, dtype=np.float32)
            graph, torch_out = run_sensor(running, values), network.answer(values)
        difference = np.abs(graph - torch_out) / np.maximum(1.0, np.abs(torch_out))
        worst[precision] = float(np.max(difference)) if np.isfinite(difference).all() else float("inf")
    return worst
