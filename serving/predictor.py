"""The models as serving runs them: texts or sensor readings in, one label and score each out.

    text     masked text → tokens → logits (B, C) → softmax → label, probability
    sensor   readings in the release's feature order → logits (B, C) → softmax, or score (B,) → label, score

What a row is answered depends on the row and the release alone (`serving.batching`).
"""

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from schemas.errors import HeadraceError
from schemas.release import Manifest, Task
from serving.batching import Outputs, Policy, choose, groups
from serving.engines import text_shapes
from serving.release import TOKENIZER, BadRelease, OpenRelease
from serving.session import PROCESSOR, Feed, Providers, Session, providers

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ANOMALY: Final = "anomaly"
NORMAL: Final = "normal"

_TEXT_ROWS: Final = 16
_TEXT_ROWS_ON_GPU: Final = 64
"""64 texts take a GPU as long as one: 39,500 rows/s against 800 one by one (MiniLM in FP32, H200)."""

_SENSOR_ROWS: Final = 4096
_PROBE_ROWS: Final = 6
_PROBE_TOKENS: Final = 16
_SERVED_ALONE: Final = "int8"
"""Dynamic INT8 is a processor's format: CUDA takes twice as long for it as the processor beside it."""

Row = str | Mapping[str, float]
"""What a model reads of an event: a text, or readings by name."""


class Answer(NamedTuple):
    """A model's answer to one row."""

    label: str
    score: float


class BadAnswer(HeadraceError):
    """The model gave no usable answer: a NaN, an infinity or an output of the wrong shape."""


class Predictor(Protocol):
    """A loaded model."""

    family: str
    policy: Policy
    provider: str
    tolerance: float | None
    """How far from the truth a regression's answer may lie and be right; None of other tasks."""

    def predict(self, rows: Sequence[Any]) -> list[Answer]:
        """Answer rows in order. Blocks; safe to call from several threads.

        Raises:
            BadAnswer: at least one row has no usable answer.
        """
        ...


class TextPredictor:
    """A text classifier: one row a run on several threads, or rows of equal length together."""

    family = "text"
    tolerance: float | None = None

    def __init__(self, opened: OpenRelease, pool: ThreadPoolExecutor) -> None:
        manifest = opened.manifest
        try:
            self._tokenizer = tokenizer_of(opened.contents[TOKENIZER], manifest.max_tokens)
        except Exception as error:  # the tokenizer's own errors are bare Exceptions
            raise BadRelease(f"{TOKENIZER} does not load: {error}") from error
        alone = manifest.serve == _SERVED_ALONE
        self._session = Session(
            opened.graph, inputs=("input_ids", "attention_mask"), outputs=("logits", "score"),
            shapes=text_shapes(_TEXT_ROWS_ON_GPU, manifest.max_tokens), found=choices(manifest.serve),
        )  # fmt: skip
        self._head = _Head(manifest, self._session.output)
        self._pool = pool
        self._max_tokens = manifest.max_tokens
        self.provider = self._session.provider
        self._rows = _TEXT_ROWS if self.provider in PROCESSOR.usable else _TEXT_ROWS_ON_GPU
        self.policy = Policy.SINGLE
        if not alone:
            probes = self._probes()
            self.policy = choose(lambda policy: self._outputs(probes, policy, None))

    def predict(self, rows: Sequence[str]) -> list[Answer]:
        """Answer texts, each as if it were alone."""
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(rows))]
        return self._head.answers(self._outputs(tokens, self.policy, self._pool))

    def _outputs(
        self, tokens: Sequence[Sequence[int]], policy: Policy, pool: ThreadPoolExecutor | None
    ) -> Outputs:
        parts = groups(policy, [len(ids) for ids in tokens], self._rows)
        # The longest first, so that the threads end together.
        parts.sort(key=lambda rows: -len(rows) * len(tokens[rows[0]]))
        feeds = [token_feed([tokens[row] for row in rows]) for rows in parts]
        return _in_order(parts, _run_all(self._session, feeds, pool), len(tokens))

    def _probes(self) -> list[list[int]]:
        length = min(_PROBE_TOKENS, self._max_tokens)
        return spread_tokens(_PROBE_ROWS, length, self._tokenizer.get_vocab_size())


def spread_tokens(rows: int, length: int, vocabulary: int) -> list[list[int]]:
    """Make rows of one length and different contents from a tokenizer's vocabulary, (B, T)."""
    spread = np.arange(rows * length) * 7919 % vocabulary
    made: list[list[int]] = spread.reshape(rows, length).tolist()
    return made


def choices(serve: str) -> Providers:
    """Return the providers that a text graph of this variant may run on."""
    return PROCESSOR if serve == _SERVED_ALONE else providers()


@lru_cache(maxsize=8)
def tokenizer_of(file: bytes, max_tokens: int) -> "Tokenizer":
    """Load a tokenizer; versions that have one in common share it.

    It is read under the interpreter's lock, for 20 ms in which nothing is answered, and increments keep it.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(file.decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=max_tokens)
    return tokenizer


class SensorPredictor:
    """A sensor model: all rows in one run, if it answers a row in company as it does alone."""

    family = "sensor"

    def __init__(self, opened: OpenRelease, pool: ThreadPoolExecutor) -> None:
        manifest = opened.manifest
        self.features = manifest.features
        self._medians = np.array(medians(manifest))  # (F,)
        self._session = Session(opened.graph, inputs=("values",), outputs=("logits", "score"))
        self._head = _Head(manifest, self._session.output)
        self.tolerance = manifest.thresholds.get("tolerance") if manifest.task is Task.REGRESSION else None
        self.provider = self._session.provider
        spread = np.linspace(-2.0, 2.0, _PROBE_ROWS, dtype=np.float32)[:, None]  # (B, 1)
        typical = np.nan_to_num(self._medians.astype(np.float32))  # (F,)
        probes = typical + spread * np.maximum(np.abs(typical), 1.0)  # (B, F)
        self.policy = Policy.SINGLE
        self.policy = choose(lambda policy: self._outputs(probes, policy))

    def predict(self, rows: Sequence[Mapping[str, float]]) -> list[Answer]:
        """Answer readings by name; a missing one takes its training median, an unknown one is ignored."""
        named = [[row.get(name, math.nan) for name in self.features] for row in rows]
        return self.predict_values(np.array(named, dtype=np.float64))

    def predict_values(self, values: npt.NDArray[np.float64]) -> list[Answer]:
        """Answer readings (N, F) in the order of `features`; NaN says missing.

        Raises:
            BadAnswer: at least one row has no usable answer.
        """
        if not math.isfinite(np.add.reduce(values, axis=None)):
            values = np.where(np.isnan(values), self._medians, values)
        with np.errstate(over="ignore"):  # a reading beyond float32 becomes infinite and is refused below
            return self._head.answers(self._outputs(values.astype(np.float32), self.policy))

    def _outputs(self, values: npt.NDArray[np.float32], policy: Policy) -> Outputs:
        size = 1 if policy is Policy.SINGLE else _SENSOR_ROWS
        outputs: Outputs = []
        for at in range(0, len(values), size):
            part = values[at : at + size]
            run = self._session.run({"values": part})
            _check_rows(run, len(part))
            outputs.extend(run)
        return outputs


def medians(manifest: Manifest) -> tuple[float, ...]:
    """Return each feature's training median, in input order; NaN where the release does not know it."""
    known = manifest.normaliser.get("median", {})
    if isinstance(known, list):
        known = dict(zip(manifest.features, known, strict=False))
    return tuple(float(known.get(name, float("nan"))) for name in manifest.features)


def make(opened: OpenRelease, pool: ThreadPoolExecutor) -> Predictor:
    """Load a verified release as the predictor of its family.

    Raises:
        BadRelease: the graph or the tokenizer does not load, or the graph is of another shape.
    """
    return TextPredictor(opened, pool) if opened.manifest.family == "text" else SensorPredictor(opened, pool)


class _Head:
    """Turns a graph's outputs, one per row, into answers."""

    def __init__(self, manifest: Manifest, output: str) -> None:
        self._labels = manifest.labels
        self._task = manifest.task
        self._threshold = manifest.thresholds.get(ANOMALY, 1.0)
        expected = "logits" if manifest.task is Task.CLASSIFICATION else "score"
        if output != expected:
            raise BadRelease(f"a model for {manifest.task} gives {expected!r}; this graph gives {output!r}")

    def answers(self, outputs: Outputs) -> list[Answer]:
        wanted = (len(self._labels),) if self._task is Task.CLASSIFICATION else ()
        for output in outputs:
            if output.shape != wanted:
                raise BadAnswer(f"an output has the shape {output.shape}, not {wanted}")
        stacked = np.array(outputs, dtype=np.float64)  # (B, C) or (B,)
        # In float64 no number of float32 outputs adds up to infinity: the sum is finite if they all are.
        if not math.isfinite(np.add.reduce(stacked, axis=None)):
            raise BadAnswer("an output is not a finite number")
        if self._task is Task.CLASSIFICATION:
            return self._classes(stacked)
        if self._task is Task.ANOMALY:
            return [
                Answer(ANOMALY if score >= self._threshold else NORMAL, score) for score in stacked.tolist()
            ]
        return [Answer("", score) for score in stacked.tolist()]

    def _classes(self, logits: npt.NDArray[np.float64]) -> list[Answer]:
        odds = np.exp(logits - np.maximum.reduce(logits, axis=1, keepdims=True))  # (B, C), the best's is 1
        best = logits.argmax(axis=1)  # (B,)
        scores = 1.0 / np.add.reduce(odds, axis=1)  # (B,)
        return [
            Answer(self._labels[label], score)
            for label, score in zip(best.tolist(), scores.tolist(), strict=True)
        ]


def token_feed(rows: Sequence[Sequence[int]]) -> Feed:
    """Build the inputs of rows of tokens that have one length, (B, T) each."""
    ids = np.array(rows, dtype=np.int64)  # (B, T)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _run_all(session: Session, feeds: Sequence[Feed], pool: ThreadPoolExecutor | None) -> Outputs:
    """Run the graph once per feed, side by side where there is more than one."""
    if pool is None or len(feeds) == 1:
        return [session.run(feed) for feed in feeds]
    return list(pool.map(session.run, feeds))


def _check_rows(run: npt.NDArray[np.float32], rows: int) -> None:
    """Refuse an output that does not have a part for each row."""
    if run.ndim == 0 or len(run) != rows:
        raise BadAnswer(f"{rows} rows gave an output of the shape {run.shape}")


def _in_order(parts: Sequence[Sequence[int]], runs: Outputs, count: int) -> Outputs:
    """Give each row its own output, in the rows' order, whatever groups they ran in."""
    outputs: list[npt.NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * count
    for rows, run in zip(parts, runs, strict=True):
        _check_rows(run, len(rows))
        for row, output in zip(rows, run, strict=True):
            outputs[row] = np.asarray(output)
    return outputs
