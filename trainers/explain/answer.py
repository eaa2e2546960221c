"""Explains one answer of a release: consumes its folder and an event's text or readings, produces why.

The answer is the release's own, in the precision that it serves in. What is explained is the FP32 network;
where that would answer otherwise, the explanation says so.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch

from schemas.errors import Fatal
from schemas.release import Manifest
from trainers import folders
from trainers.backbone import Backbone
from trainers.dataset import Array, Dataset
from trainers.encoder import Encoder, locate
from trainers.explain import readings, texts
from trainers.explain.explanation import Explanation, Reason, explained_label, unit_of
from trainers.explain.words import Word
from trainers.folders import ROWS
from trainers.model import Model, answers, open_model, probabilities, scores
from trainers.row import Row

_SEED: Final = 11
_STRAIGHT: Final = "integrated gradients, {steps} steps from the text with every word masked"
_ORDERS: Final = "Shapley values, {orders} orders of {parts} readings, against {rows}"


def explain(
    folder: Path, home: Path, *, text: str = "", values: Mapping[str, float] | None = None,
    label: str | None = None, threads: int = 1,
) -> Explanation:  # fmt: skip
    """Return why a release answers a text, or readings, as it does; or why it might have answered `label`.

    Raises:
        Fatal: the release cannot be opened, takes no such input, or never answers `label`.
    """
    model, manifest = open_model(folder, home, threads)
    if model.encoder is not None:
        if not text.strip():
            raise Fatal(f"{manifest.model} {manifest.version} reads texts, and there is none to explain")
        return _text(model, model.encoder, manifest, text, label)
    if not values:
        raise Fatal(f"{manifest.model} {manifest.version} reads readings, and there are none to explain")
    return _readings(model, manifest, folder, _in_order(values, model.features), label)


def _text(model: Model, encoder: Encoder, manifest: Manifest, text: str, wanted: str | None) -> Explanation:
    known = _answered(model, encoder.features([text], model.precision))
    label = explained_label(model.network, str(known["answer"]), wanted)
    backbone = Backbone.load(locate(manifest.base), model.backbone)
    found = texts.integrated(backbone, model.network, encoder.tokenizer, text, label)
    notes = []
    if found.error > found.bound:
        notes.append(f"the shares miss the sum by {found.error:.3g} even after {found.steps} steps")
    with torch.inference_mode():
        ids = texts.tokens(encoder.tokenizer, text).ids.unsqueeze(0)
        full = str(
            answers(model.network.answer(backbone(ids, torch.ones_like(ids)).numpy()), model.labels)[0]
        )
    if full != known["answer"]:
        notes.append(f"the explained network, in FP32, answers {full}: INT8 made the difference here")
    return Explanation(
        **_named(manifest), **known,
        label=label,
        unit=unit_of(model.network),
        method=_STRAIGHT.format(steps=found.steps),
        output=found.output,
        baseline=found.baseline,
        error=found.error,
        bound=found.bound,
        reasons=tuple(
            Reason(name=word.name, share=float(share), begin=word.begin, end=word.end)
            for word, share in zip(found.words, found.shares, strict=True)
        ),
        text=text,
        read=_read(found.words, text),
        notes=tuple(notes),
    )  # fmt: skip


def _readings(
    model: Model, manifest: Manifest, folder: Path, values: Array, wanted: str | None
) -> Explanation:
    known = _answered(model, values)
    label = explained_label(model.network, str(known["answer"]), wanted)
    rows = _training_rows(folder)
    against = readings.background(model.network, rows, model.features, _SEED)
    found = readings.shares(model.network, values, against, label, seed=_SEED)
    shares, output, baseline = found[0][0], float(found[1][0]), float(found[2][0])
    return Explanation(
        **_named(manifest), **known,
        label=label,
        unit=unit_of(model.network),
        method=_ORDERS.format(
            orders=readings.told_orders(len(model.features)), parts=len(model.features),
            rows=f"{len(against)} training rows" if rows else "the centre: the release keeps no rows",
        ),
        output=output,
        baseline=baseline,
        error=abs(float(shares.sum(dtype=np.float64)) - (output - baseline)),
        bound=1e-3 * max(1.0, abs(output - baseline)),
        reasons=tuple(
            Reason(name=name, share=float(share), value=_number(value), usual=float(usual))
            for name, share, value, usual in zip(
                model.features, shares, values[0], model.network.centre, strict=True
            )
        ),
    )  # fmt: skip


def _named(manifest: Manifest) -> dict[str, Any]:
    return {"model": manifest.model, "version": manifest.version}


def _answered(model: Model, inputs: Array) -> dict[str, Any]:
    """Return what the release answers to one row of its network's inputs (1, F)."""
    out = model.network.answer(inputs)
    shares = {} if out.ndim == 1 else dict(zip(model.labels, probabilities(out)[0].tolist(), strict=True))
    number = f"{float(out[0]):.6g}" if model.network.kind == "regressor" else ""
    return {
        "answer": number or str(answers(out, model.labels)[0]),
        "score": float(scores(out)[0]),
        "probabilities": shares,
    }


def _in_order(values: Mapping[str, float], features: tuple[str, ...]) -> Array:
    """Return readings (1, F) in the model's order; one that is missing is NaN."""
    for name in values:
        if name not in features:
            near = difflib.get_close_matches(name, features, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it reads {', '.join(features)}"
            raise Fatal(f"the model reads nothing called {name!r}; {hint}")
    return np.array([[values.get(name, np.nan) for name in features]], dtype=np.float32)


def _training_rows(folder: Path) -> list[Row]:
    """Return the rows that a release was trained on, none where they were too many to be kept."""
    path = folder / ROWS
    if not path.is_file():
        return []
    return msgspec.json.decode(folders.unpacked(path), type=Dataset).training


def _read(found: Sequence[Word], text: str) -> int:
    """Return where the model stopped reading: behind the last word that it has a token of."""
    behind = text[found[-1].end :] if found else text
    return len(text) if not behind.strip() else len(text) - len(behind)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
