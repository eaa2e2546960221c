"""Classes of texts from rows to files: the head over cached vectors, then what the mode tunes below it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch

from schemas.errors import Fatal
from schemas.release import Task as Judged
from trainers import export
from trainers.backbone import Backbone
from trainers.dataset import Array
from trainers.encoder import Encoder, locate, prepare
from trainers.fit import Interrupted
from trainers.metrics import classification
from trainers.model import BACKBONE, Model, answers, probabilities
from trainers.perceptron import text_head
from trainers.recipe import Mode, Recipe
from trainers.tasks.examples import Text
from trainers.tasks.pretrained import config_of, inputs, limit, words_of
from trainers.tasks.texts import Ids, TextLearner, under_a_head
from trainers.tasks.vectors import VectorLearner
from trainers.tasks.work import Phase, Rows, Surroundings

_HEAD_FIRST: Final = Recipe(mode=Mode.HEAD, epochs=30, batch=64, patience=5)
_CHUNK: Final = 64
_SAMPLE: Final = 24
_AGREEMENT: Final = 500


def vectors_of(encoder: Encoder, texts: Sequence[str], around: Surroundings) -> Array:
    """Return (N, H) vectors of texts, computed in chunks and kept: who stops goes on where he was.

    Raises:
        Interrupted: `around.stop` said so.
    """
    parts = []
    for at in range(0, len(texts), _CHUNK):
        parts.append(encoder.features(texts[at : at + _CHUNK]))
        around.tell("embedding", min(at + _CHUNK, len(texts)), len(texts))
        if around.stop():
            encoder.save()
            raise Interrupted("stopped while texts were embedded; the vectors so far are kept")
    encoder.save()
    return np.concatenate(parts)


class ClassificationTask:
    """Learns the classes of N texts."""

    def __init__(
        self, base: str, examples: Sequence[Text], rows: Rows, recipe: Recipe, around: Surroundings
    ) -> None:
        self._base, self._recipe, self._around, self._rows = base, recipe, around, rows
        self._texts = [example.text for example in examples]
        labels = sorted({examples[row].label for row in rows.training})
        if len(labels) < 2:
            raise Fatal("all rows to train on have one and the same label; a classifier needs at least two")
        self._truth = [example.label for example in examples]
        config = config_of(base)
        words = words_of(base, config)
        self._pad = words.pad
        self.max_tokens = limit(config, recipe.max_tokens)
        self._encoder = prepare(around.home, base, max_tokens=self.max_tokens, threads=around.threads)
        vectors = vectors_of(self._encoder, self._texts, around)
        torch.manual_seed(recipe.seed)
        self.head = text_head(vectors.shape[1], labels, vectors[rows.training])
        self._vectors = vectors
        self._learner: TextLearner | None = None
        self._tuned: Path | None = None

    def phases(self) -> Iterator[Phase]:
        index = {label: number for number, label in enumerate(self.head.labels)}
        known = [row for row in self._rows.validation if self._truth[row] in index]
        truth = np.array([index.get(label, 0) for label in self._truth], dtype=np.int64)
        alone = self._recipe.mode is Mode.HEAD
        first = (
            self._recipe
            if alone
            else msgspec.structs.replace(
                _HEAD_FIRST, seed=self._recipe.seed, head_rate=self._recipe.head_rate
            )
        )
        yield Phase(
            VectorLearner(self.head, self._vectors, truth), first, self._rows.training, known, last=alone
        )
        if alone:
            return
        backbone = Backbone.load(locate(self._base))
        ids = Ids(self._encoder.tokens(self._texts), self._pad)
        self._learner = TextLearner(backbone, self.head, ids, truth, self._recipe)
        yield Phase(self._learner, under_a_head(self._recipe), self._rows.training, known)

    def finish(self, scratch: Path) -> None:
        self.head.cpu()
        if self._learner is None:
            return
        self._learner.tuned.merge()
        self._learner.network.cpu().eval()
        self._tuned = scratch / "backbone.safetensors"
        backbone: Any = self._learner.network.backbone
        backbone.save(self._tuned)
        self._encoder = prepare(
            scratch, self._base, max_tokens=self.max_tokens, threads=self._around.threads, weights=self._tuned
        )

    def before(self, rows: Sequence[int]) -> dict[str, float]:
        return {}

    def metrics(self, rows: Sequence[int]) -> dict[str, float]:
        truth = np.array([self._truth[row] for row in rows])
        return classification(truth, probabilities(self._logits(rows)), self.head.labels)

    def _logits(self, rows: Sequence[int]) -> Array:
        if self._learner is None:
            return self.head.answer(self._vectors[list(rows)])
        return self.head.answer(vectors_of(self._encoder, [self._texts[row] for row in rows], self._around))

    def export(self, folder: Path) -> dict[str, float]:
        """Write the FP32 and INT8 graphs, each compared with the torch network."""
        variants = export.write(folder, self.head, self._encoder)
        texts = [self._texts[row] for row in self._rows.training[:_SAMPLE]]
        worst = export.parity(folder, variants, self.head, self._encoder, texts)
        worst["fp32"] = max(worst["fp32"], self._padded_parity(folder / variants["fp32"], texts))
        if worst["fp32"] > 1e-4:
            raise Fatal(f"the FP32 graph differs from the tuned network by {worst['fp32']:.2g}")
        asked = [self._texts[row] for row in (self._rows.test or self._rows.training)[:_AGREEMENT]]
        small, full = (
            answers(self.head.answer(self._encoder.features(asked, kind)), self.head.labels)
            for kind in ("int8", "fp32")
        )
        self._encoder.tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "training").mkdir(exist_ok=True)
        self.head.save(folder / "training" / "network.safetensors")
        if self._tuned is not None:
            (folder / BACKBONE).write_bytes(self._tuned.read_bytes())
        return {
            "parity": worst["fp32"],
            "parity_int8": worst["int8"],
            "int8_agreement": float((small == full).mean()),
        }

    def _padded_parity(self, graph: Path, texts: Sequence[str]) -> float:
        """Return the largest difference between torch and the FP32 graph on one padded batch."""
        from trainers.encoder import session
        from trainers.tasks.texts import TextNetwork

        batch = inputs(self._encoder.tokens(texts), self._pad)
        weights = self._tuned
        network = TextNetwork(Backbone.load(locate(self._base), weights), self.head).eval()
        with torch.inference_mode():
            expected = network(**batch).numpy()
        found = session(graph).run(None, {name: value.numpy() for name, value in batch.items()})[0]
        return float((np.abs(found - expected) / np.maximum(1.0, np.abs(expected))).max())

    def describe(self) -> dict[str, object]:
        return {"labels": self.head.labels, "max_tokens": self.max_tokens}

    def model(self) -> Model:
        """Return the model as the trainer's releases hold it."""
        return Model(Judged.CLASSIFICATION, self.head, self._encoder, backbone=self._tuned)
