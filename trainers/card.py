"""Model cards: consume a job, its rows and its verdict, produce what people read about a candidate.

The sections are those of Mitchell et al., "Model Cards for Model Reporting" (2019), as far as a trainer can
know them. The JSON is the record; the Markdown is rendered from it.
"""

import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.release import Manifest, Task, TrainingRange
from trainers import bias
from trainers.bias import Bias
from trainers.dataset import Dataset
from trainers.evaluate import right
from trainers.examine import Examined
from trainers.explain import classes
from trainers.explain.classes import Explanations
from trainers.finetune import Curve
from trainers.markdown import cell
from trainers.model import ANOMALY, Model
from trainers.outcome import Job
from trainers.row import Row
from trainers.slices import Slice

Truths = NDArray[np.bool_]

_SOFTWARE: Final = ("headrace", "torch", "transformers", "tokenizers", "onnx", "captum", "numpy")
_PARTS: Final = 50
_FEW: Final = 30
"""Held-out rows below which the figures of a part are mostly chance."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One class or source: its rows for training and held out, and the share of these answered right."""

    by: str
    name: str
    training: int
    held_out: int
    accuracy: float | None = None


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """`model_card.json`. `reasons` are the gate's; `parent_accuracy` is what the parent showed then.

    `parts` say what the rows were of, `weakest` where the candidate did worst; `golden_set` is its version.
    `explanations` say what speaks for each class, `bias` where a source is treated otherwise; cards of before
    there were any have neither.
    """

    model: str
    version: int
    stream: str
    task: str
    answers: tuple[str, ...]
    base: str
    family: str
    serve: str
    released: bool
    reasons: tuple[str, ...]
    parent: int | None
    parent_accuracy: float | None
    alert: str | None
    training: TrainingRange | None
    held_out_rows: int
    sources: int
    parts: tuple[Part, ...]
    weakest: tuple[Slice, ...]
    golden_set: str
    metrics: dict[str, float]
    gate: dict[str, Any]
    learn: dict[str, Any]
    fresh: bool
    threads: int
    epochs: int
    stopped: dict[str, str]
    software: dict[str, str]
    limits: tuple[str, ...]
    created_at: datetime
    explanations: Explanations | None = None
    bias: tuple[Bias, ...] = ()


def software() -> dict[str, str]:
    """Return the versions of what a training's result depends on."""
    from onnxruntime import __version__ as of_runtime  # its package has another name where a GPU is

    found = {"python": platform.python_version(), "machine": platform.machine(), "onnxruntime": of_runtime}
    return found | {package: version(package) for package in _SOFTWARE}


def parts(candidate: Model, data: Dataset) -> tuple[Part, ...]:
    """Return the largest classes and sources, with how many of their held-out rows were answered right."""
    if candidate.task is Task.ANOMALY:
        return ()
    held_out = [*data.recent_held_out, *data.old_held_out]
    good = right(candidate, held_out)
    sources = _parts("source", [row.source for row in data.training], [r.source for r in held_out], good)
    if candidate.task is Task.REGRESSION:
        return tuple(sources)
    labels = _parts("class", [row.label for row in data.training], [row.label for row in held_out], good)
    return (*labels, *sources)


def _parts(by: str, training: list[str], held_out: list[str], right: Truths) -> Iterator[Part]:
    trained, tested = Counter(training), Counter(held_out)
    names = np.array(held_out)
    for name, _ in (trained + tested).most_common(_PARTS):
        yield Part(
            by=by,
            name=name,
            training=trained[name],
            held_out=tested[name],
            accuracy=float(right[names == name].mean()) if tested[name] else None,
        )


def card(
    job: Job, data: Dataset, manifest: Manifest, candidate: Model, examined: Examined,
    parent: Manifest | None, curve: Curve, explanations: Explanations,
) -> Card:  # fmt: skip
    """Return the card of a judged candidate; `manifest` is that of its release, but for the files."""
    held_out: list[Row] = [*data.recent_held_out, *data.old_held_out]
    sound = examined.verdict.sound
    made_of = parts(candidate, data) if sound else ()
    return Card(
        model=manifest.model,
        version=manifest.version,
        stream=manifest.stream,
        task=manifest.task.value,
        answers=_answers(manifest),
        base=manifest.base,
        family=manifest.family,
        serve=manifest.serve,
        released=examined.verdict.released,
        reasons=examined.verdict.reasons,
        parent=manifest.parent,
        parent_accuracy=parent.metrics.get("accuracy") if parent else None,
        alert=manifest.alert,
        training=manifest.training,
        held_out_rows=len(held_out),
        sources=len({row.source for row in (*data.training, *held_out)}),
        parts=made_of,
        weakest=tuple(examined.slices),
        golden_set=manifest.golden_set,
        metrics=manifest.metrics,
        gate=job.settings.gate.model_dump(mode="json"),
        learn=job.learner.learn.model_dump(mode="json"),
        fresh=job.fresh or job.champion is None,
        threads=job.threads,
        epochs=len(curve.train),
        stopped=curve.history.stopped,
        software=software(),
        limits=_limits(manifest, made_of, curve.history.stopped),
        created_at=manifest.created_at,
        explanations=explanations,
        bias=bias.of_candidate(candidate, held_out) if sound else (),
    )


def _answers(manifest: Manifest) -> tuple[str, ...]:
    if manifest.task is Task.REGRESSION:
        return (f"a number, right within {manifest.thresholds['tolerance']:.4g}",)
    return manifest.labels if manifest.task is not Task.ANOMALY else ("normal", ANOMALY)


def _limits(manifest: Manifest, made_of: Sequence[Part], stopped: dict[str, str]) -> tuple[str, ...]:
    limits = ["Figures are of held-out rows of the same stream; they say nothing about other traffic."]
    if manifest.task is Task.ANOMALY:
        limits.append(
            "It learnt from unlabelled readings, taken for mostly normal. Its accuracy is on held-out "
            "readings and on the same ones with a quarter of their values pushed far out: no real anomalies."
        )
    elif manifest.task is Task.REGRESSION:
        limits.append("It answers what its training rows let expect; it does not say how sure it is.")
    else:
        limits.append("It answers only the classes named here; an event of another kind gets one of them.")
    few = [f"{part.by} {part.name}" for part in made_of if part.held_out < _FEW]
    if few:
        limits.append(f"Fewer than {_FEW} held-out rows, so figures mostly of chance: {', '.join(few)}.")
    if manifest.max_tokens:
        limits.append(f"Of a text only the first {manifest.max_tokens} tokens are read.")
    if stopped:
        ended = "; ".join(f"{phase}: {why}" for phase, why in stopped.items())
        limits.append(f"Training ended before its last epoch ({ended}).")
    return tuple(limits)


def markdown(card: Card) -> str:
    """Render a card for people."""
    verdict = "released" if card.released else "rejected"
    parent = "none"
    if card.parent is not None:
        parent = f"version {card.parent}"
        if card.parent_accuracy is not None:
            parent += f", accuracy {card.parent_accuracy:.4f} in its time"
    how = "trained afresh" if card.fresh else "continued from its parent"
    return "\n".join(
        [
            f"# {card.model}, version {card.version}",
            "",
            f"Judges the events of stream `{card.stream}` ({card.task}) as {', '.join(card.answers)}.",
            "",
            f"- verdict: {verdict}: {'; '.join(card.reasons)}",
            f"- parent: {parent}; {how}",
            f"- asked for by alert: {card.alert or 'none, first training'}",
            f"- base: {card.base or 'none'}; family: {card.family}; served as {card.serve}",
            "",
            *_data(card),
            *(classes.markdown(card.explanations) if card.explanations is not None else []),
            *(bias.markdown(card.bias) if "accuracy" in card.metrics else []),
            *_table("measured on held-out rows", [(n, f"{v:.6g}") for n, v in sorted(card.metrics.items())]),
            *_table("gate", [(name, str(value)) for name, value in card.gate.items()]),
            *_table(
                "training",
                [
                    *((name, str(value)) for name, value in card.learn.items()),
                    ("epochs run", str(card.epochs)),
                    ("threads", str(card.threads)),
                ],
            ),
            *_table("software", list(card.software.items())),
            "## Limits",
            "",
            *[f"- {limit}" for limit in card.limits],
            "",
        ]
    )


def _data(card: Card) -> list[str]:
    lines = ["## Data", ""]
    if (span := card.training) is not None:
        lines += [
            f"- trained on {span.rows} rows, {span.replayed_rows} of them replayed",
            f"- held out: {card.held_out_rows} rows; sources: {card.sources}",
            f"- events of {span.event_from:%Y-%m-%d %H:%M:%S} to {span.event_to:%Y-%m-%d %H:%M:%S} UTC",
            *(f"- {place}, offsets {low} to {high}" for place, (low, high) in sorted(span.offsets.items())),
            f"- sha256 of the rows: {span.dataset_sha256}",
        ]
    lines.append("")
    if card.parts:
        lines += ["| | training rows | held out | right |", "|---|--:|--:|--:|"]
        for part in card.parts:
            right = "" if part.accuracy is None else f"{part.accuracy:.4f}"
            lines.append(f"| {part.by} {cell(part.name)} | {part.training} | {part.held_out} | {right} |")
        lines.append("")
    if card.weakest:
        lines += ["Weakest on held-out rows:", "", *(f"- {slice_}" for slice_ in card.weakest), ""]
    return lines


def _table(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    return [f"## {title.capitalize()}", "", "| | |", "|---|--:|", *(f"| {n} | {v} |" for n, v in rows), ""]
