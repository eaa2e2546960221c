"""A model as the trainer holds it: consumes a release's folder or a tuned network, produces answers to rows.

The champion and the candidate are both asked through this one class, each in the precision it serves in.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from schemas import codec
from schemas.errors import Fatal
from schemas.release import Manifest, Task
from trainers.dataset import Array, matrix
from trainers.encoder import Encoder, Precision, prepare
from trainers.perceptron import Perceptron
from trainers.row import Row

NETWORK: Final = "training/network.safetensors"
BACKBONE: Final = "training/backbone.safetensors"
NORMAL: Final = "normal"
ANOMALY: Final = "anomaly"


@dataclass(frozen=True)
class Model:
    """A network, the encoder before it (text) or the features it takes (sensor), and its precision."""

    task: Task
    network: Perceptron
    encoder: Encoder | None = None
    features: tuple[str, ...] = ()
    precision: Precision = "fp32"
    backbone: Path | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the label order of the logits; of an anomaly model its two answers, of a regression none."""
        return self.network.labels

    def inputs(self, rows: Sequence[Row]) -> Array:
        """Return what the network takes, (N, F): text vectors in this precision, or readings."""
        if self.encoder is not None:
            return self.encoder.features([row.text for row in rows], self.precision)
        return matrix(rows, self.features)

    def outputs(self, rows: Sequence[Row]) -> Array:
        """Return logits (N, C), or numbers or anomaly scores (N,)."""
        return self.network.answer(self.inputs(rows))

    def at(self, precision: Precision) -> "Model":
        """Return the same model in another precision."""
        return replace(self, precision=precision)


def answers(outputs: Array, labels: Sequence[str]) -> NDArray[np.str_]:
    """Return the label of each row of logits (N, C) or scores (N,); of numbers, which have none, ""."""
    if outputs.ndim == 1:
        if not labels:
            return np.full(len(outputs), "", dtype=np.str_)
        return np.asarray(np.where(outputs >= 1.0, ANOMALY, NORMAL), dtype=np.str_)
    return np.asarray(np.array(labels)[outputs.argmax(1)], dtype=np.str_)


def scores(outputs: Array) -> Array:
    """Return the probability of each row's label, or the number or anomaly score itself."""
    if outputs.ndim == 1:
        return outputs
    return np.asarray(probabilities(outputs).max(1), dtype=np.float32)


def probabilities(logits: Array) -> Array:
    """Return the softmax (N, C) of logits (N, C); of infinite ones NaN, which the examination finds."""
    with np.errstate(invalid="ignore"):
        shifted = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(shifted / shifted.sum(1, keepdims=True), dtype=np.float32)


def folder_of(uri: str) -> Path:
    """Return the folder of a release's `file://` address.

    Raises:
        Fatal: the address is of another kind.
    """
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise Fatal(f"a release lies at {uri!r}; the trainer reads file:// addresses only")
    return Path(unquote(parts.path))


def open_model(folder: Path, home: Path, threads: int) -> tuple[Model, Manifest]:
    """Open a release folder to compare with it and to continue from it.

    Raises:
        Fatal: the folder is incomplete, was changed after its release, or was not written by this trainer.
    """
    try:
        manifest = codec.decode((folder / "manifest.json").read_bytes(), Manifest)
        parts = {
            name: _verified(folder, name, manifest) for name in (NETWORK, BACKBONE) if name in manifest.files
        }
    except OSError as error:
        raise Fatal(f"the release in {folder} cannot be read: {error}") from error
    if NETWORK not in parts:
        raise Fatal(
            f"the release in {folder} has no {NETWORK} to continue from; answer this drift with `retrain`"
        )
    encoder = None
    if manifest.family == "text":
        encoder = prepare(
            home, manifest.base, max_tokens=manifest.max_tokens, threads=threads, weights=parts.get(BACKBONE)
        )
        if manifest.tokenizer not in {"", encoder.fingerprint}:
            raise Fatal(
                f"the tokenizer of base {manifest.base!r} is not the one that {manifest.model} "
                f"{manifest.version} was trained with; bring it back, or give the model another name"
            )
    precision: Precision = "int8" if manifest.serve == "int8" else "fp32"
    network = Perceptron.load(parts[NETWORK])
    return Model(manifest.task, network, encoder, manifest.features, precision, parts.get(BACKBONE)), manifest


def _verified(folder: Path, name: str, manifest: Manifest) -> Path:
    with (folder / name).open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != manifest.files[name]:
            raise Fatal(f"{folder / name} is not the file that was released: its sha256 differs")
    return folder / name
