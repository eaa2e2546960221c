"""The release as every peer serves it: consumes a release folder, produces a function from row to answer.

Each peer's program loads this file, which lies beside it, so that all run the same graph with the same
options: one row a run on one thread, without spinning, as the session itself is measured.
What is slow or fast about a peer is then its server alone.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

Answer = dict[str, Any]
Model = Callable[[Any], Answer]


def load() -> Model:
    """Load what the environment names: `BENCH_MODEL`, a release folder; empty for no model at all."""
    folder = os.environ["BENCH_MODEL"]
    return served(Path(folder)) if folder else nothing


def blocks() -> bool:
    """Tell whether an answer takes milliseconds, and so a thread or process of its own."""
    return os.environ["BENCH_ROW"] == "text" and bool(os.environ["BENCH_MODEL"])


def cores() -> int:
    """Return how many rows a server may answer at once."""
    return int(os.environ["BENCH_CORES"])


def port() -> int:
    """Return where to listen, on the loopback interface."""
    return int(os.environ["BENCH_PORT"])


def nothing(row: Any) -> Answer:
    """Answer any row without a model: what is left is the server."""
    return {"label": "nothing", "score": 1.0}


def served(folder: Path) -> Model:
    """Return the model of a release folder: a text, or readings in its order, to label and score."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    graph = folder / manifest["variants"][manifest["serve"]]
    session = onnxruntime.InferenceSession(str(graph), _options(), providers=["CPUExecutionProvider"])
    labels = manifest["labels"]
    if manifest["family"] != "text":

        def judge(row: list[float]) -> Answer:
            values = np.array([row], dtype=np.float32)  # (1, F)
            return _answer(session.run(["logits"], {"values": values})[0][0], labels)

        return judge
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=manifest["max_tokens"])

    def classify(row: str) -> Answer:
        tokens = np.array([tokenizer.encode(row).ids], dtype=np.int64)  # (1, T)
        feed = {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}
        return _answer(session.run(["logits"], feed)[0][0], labels)

    return classify


def _answer(logits: Any, labels: list[str]) -> Answer:
    odds = np.exp(logits - logits.max())  # (C,)
    best = int(odds.argmax())
    return {"label": labels[best], "score": float(odds[best] / odds.sum())}


def _options() -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
