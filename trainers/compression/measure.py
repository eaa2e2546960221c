"""What variants of one model are worth: consumes graphs and held-out rows, produces figures side by side.

Graphs are timed on one thread in interleaved rounds, so that what else the machine does meets all alike.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import onnxruntime as ort

from trainers.dataset import Array
from trainers.encoder import Encoder, padded, session
from trainers.export import run_text
from trainers.metrics import classification
from trainers.model import answers, probabilities
from trainers.row import Row

ROUNDS: Final = 5
_ALONE: Final = 64
_TOGETHER: Final = 32
_BATCHES: Final = 4


class Graph(NamedTuple):
    """A whole text graph on disk and the tokenizer before it."""

    path: Path
    encoder: Encoder
    labels: tuple[str, ...]


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """A variant's figures. Times are of one row, on one thread; `rows_per_s` of batches of 32.

    `agreement` is the share of rows answered as FP32 answers them, `max_difference` the largest between their
    logits, and `alone_and_together` between a row's logits alone and in a padded batch.
    """

    bytes: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    rows_per_s: float
    accuracy: float
    f1_macro: float
    agreement: float
    max_difference: float
    alone_and_together: float


class Speed(NamedTuple):
    """Milliseconds of single rows, and rows a second in batches."""

    alone_ms: list[float]
    rows_per_s: float


def worth(graphs: Mapping[str, Graph], rows: Sequence[Row], rounds: int = ROUNDS) -> dict[str, Worth]:
    """Return each graph's figures on held-out rows; the first one is what the others are compared with."""
    texts = [row.text for row in rows]
    truth = np.array([row.label for row in rows])
    open_graphs = {name: session(graph.path) for name, graph in graphs.items()}
    timed = speeds(open_graphs, next(iter(graphs.values())).encoder.tokens(texts), rounds)
    first: Array | None = None
    told = {}
    for name, graph in graphs.items():
        logits = run_text(open_graphs[name], graph.encoder, texts)
        first = logits if first is None else first
        found, expected = answers(logits, graph.labels), answers(first, graph.labels)
        figures = classification(truth, probabilities(logits), graph.labels)
        alone = timed[name].alone_ms
        p50, p95, p99 = (round(float(np.percentile(alone, share)), 4) for share in (50, 95, 99))
        told[name] = Worth(
            bytes=graph.path.stat().st_size, p50_ms=p50, p95_ms=p95, p99_ms=p99,
            rows_per_s=round(timed[name].rows_per_s, 1),
            accuracy=float((found == truth).mean()),
            f1_macro=figures["f1_macro"],
            agreement=float((found == expected).mean()),
            max_difference=float(np.abs(logits - first).max()),
            alone_and_together=_company(open_graphs[name], graph.encoder, texts[:8], logits[:8]),
        )  # fmt: skip
    return told


def speeds(
    open_graphs: Mapping[str, ort.InferenceSession], ids: Sequence[Sequence[int]], rounds: int
) -> dict[str, Speed]:
    """Time graphs on the same rows by turns: rows alone, and batches of 32 of rows as they come."""
    alone = [padded([row]) for row in ids[:_ALONE]]
    order = [ids[number % len(ids)] for number in range(_TOGETHER * _BATCHES)]
    batches = [padded(order[at : at + _TOGETHER]) for at in range(0, len(order), _TOGETHER)]
    ones: dict[str, list[float]] = {name: [] for name in open_graphs}
    rates: dict[str, list[float]] = {name: [] for name in open_graphs}
    for _ in range(rounds):
        for name, running in open_graphs.items():
            running.run(None, alone[0])
            ones[name] += [1000 * _seconds(running, feed) for feed in alone]
            rates[name].append(len(order) / sum(_seconds(running, feed) for feed in batches))
    return {name: Speed(ones[name], float(np.median(rates[name]))) for name in open_graphs}


def _seconds(running: ort.InferenceSession, feed: dict[str, Any]) -> float:
    began = time.perf_counter()
    running.run(None, feed)
    return time.perf_counter() - began


def _company(running: ort.InferenceSession, encoder: Encoder, texts: Sequence[str], alone: Array) -> float:
    """Return the largest difference between rows' logits alone and in one padded batch."""
    together = running.run(None, padded(encoder.tokens(texts)))[0]
    return float(np.abs(together - alone).max())
