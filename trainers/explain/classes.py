"""What speaks for each class: consumes a judged candidate and its held-out rows, produces a card's section.

It is part of a training, whose end a stream in drift waits for, so its work is bounded by rows and by runs of
the graph, and not by the clock: the same candidate is explained in the same way again. Texts are asked of the
graph that would be served, by Shapley values over an order of their words and its reverse: that takes no
gradients, so an increment of a head need not load the encoder's network for it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Final

import msgspec
import numpy as np
import torch
from torch import Tensor

from schemas.release import Task
from trainers.dataset import Dataset, Row
from trainers.encoder import Encoder
from trainers.explain import readings, texts
from trainers.explain.explanation import explained, unit_of
from trainers.explain.shapley import shapley
from trainers.markdown import cell, code
from trainers.model import ANOMALY, Model
from trainers.reservoir import key

CLASSES: Final = 20
ROWS: Final = 8
TOLD: Final = 8
_AGAINST: Final = 3
_SEED: Final = 11
_TOKENS: Final = 10_000
"""Tokens that the graph may read for it: one to four seconds of MiniLM on one core."""

_ORDERS: Final = 24
_AT_ONCE: Final = 16
_BACKGROUND: Final = 16


class Speaks(msgspec.Struct, frozen=True, kw_only=True):
    """What one word or reading adds to its class's output, in the mean over the class's explained rows.

    `rows` are those of them that have it; of readings, `value` is their mean in these rows, `usual` the
    median of the first training.
    """

    name: str
    share: float
    rows: int
    value: float | None = None
    usual: float | None = None


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """What speaks for one class and against it in `rows` of its `held_out` rows of different content."""

    label: str
    rows: int
    held_out: int
    speaks_for: tuple[Speaks, ...]
    against: tuple[Speaks, ...]


class Explanations(msgspec.Struct, frozen=True, kw_only=True):
    """The section of a model card; `note` says why there are none, or not of every class."""

    unit: str = ""
    method: str = ""
    classes: tuple[Spoken, ...] = ()
    note: str = ""


def by_class(candidate: Model, data: Dataset, *, sound: bool) -> Explanations:
    """Return what speaks for each class of a candidate; of one that is not `sound` why nothing does."""
    if not sound:
        return Explanations(note="Not explained: the candidate is broken, so its answers have no reasons.")
    rows = _by_label(candidate, data.test)
    found = (
        _readings(candidate, data, rows)
        if candidate.encoder is None
        else _texts(candidate, candidate.encoder, rows)
    )
    told = [told for spoken in found.classes for told in (*spoken.speaks_for, *spoken.against)]
    if not np.isfinite([one.share for one in told]).all():
        return Explanations(note="Not explained: some of its answers are no finite numbers.")
    return found


def markdown(found: Explanations) -> list[str]:
    """Return a card's section on what speaks for each class."""
    lines = ["## What speaks for each class", ""]
    if found.classes:
        lines += [
            f"Mean shares in the class's {found.unit} on held-out rows ({found.method}).", "",
            "| class | rows | for it | against it |", "|---|--:|---|---|",
        ]  # fmt: skip
    for spoken in found.classes:
        pro, con = (", ".join(map(_shown, some)) for some in (spoken.speaks_for, spoken.against))
        lines.append(f"| {cell(spoken.label)} | {spoken.rows} | {pro} | {con} |")
    return [*lines, *(["", found.note] if found.note else []), ""]


def _shown(told: Speaks) -> str:
    seen = ""
    if told.usual is not None:
        seen = f", {'missing' if told.value is None else f'{told.value:.4g}'}, usually {told.usual:.4g}"
    return f"{code(told.name)} ({told.share:+.2f}{seen})"


def _by_label(candidate: Model, held_out: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the held-out rows of the largest classes, in the order of draw; each content once.

    Of an anomaly model, which has no labels to go by, those that score highest.
    """
    if candidate.task is Task.ANOMALY:
        scores = candidate.outputs(held_out) if held_out else np.zeros(0)
        order = sorted(range(len(held_out)), key=lambda n: (-scores[n], held_out[n].source, held_out[n].id))
        return {ANOMALY: [held_out[number] for number in order]}
    known = [row for row in held_out if row.label in candidate.labels]
    largest = [label for label, _ in sorted(Counter(row.label for row in known).items(), key=_larger)]
    found: dict[str, list[Row]] = {label: [] for label in largest[:CLASSES]}
    for row in {
        (r.label, r.text, tuple(sorted(r.values.items()))): r for r in sorted(known, key=_drawn)
    }.values():
        if row.label in found:
            found[row.label].append(row)
    return found


def _larger(counted: tuple[str, int]) -> tuple[int, str]:
    return -counted[1], counted[0]


def _drawn(row: Row) -> bytes:
    return key(_SEED, row.source, row.id)


def _texts(candidate: Model, encoder: Encoder, rows: dict[str, list[Row]]) -> Explanations:
    found: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    left = _TOKENS
    for label, row in _in_turns(rows):
        there = texts.tokens(encoder.tokenizer, row.text)
        cost = (2 * len(there.words) + 1) * len(there.ids)
        if not there.words or cost > left:
            continue
        left -= cost
        found[label].append(_of_text(candidate, encoder, there, label))
    silent = [label for label in rows if not found[label]]
    return Explanations(
        unit=unit_of(candidate.network),
        method=f"Shapley values of words, masked in an order and its reverse; {candidate.precision} graph",
        classes=tuple(
            Spoken(
                label=label, rows=len(found[label]), held_out=len(rows[label]),
                speaks_for=_told(found[label]), against=_told(found[label], against=True),
            )
            for label in rows
            if found[label]
        ),
        note=f"Not explained, for their texts are too long: {', '.join(silent)}." if silent else "",
    )  # fmt: skip


def _of_text(candidate: Model, encoder: Encoder, there: texts.Tokens, label: str) -> dict[str, float]:
    """Return the shares of a text's words in the log-odds of a label, by word."""

    def function(ids: Tensor) -> Tensor:
        vectors = encoder.vectors(ids.tolist(), candidate.precision)
        return explained(candidate.network, torch.from_numpy(candidate.network.answer(vectors)), label)

    # A special token is the same at both ends, so it may come and go with any word.
    parts = torch.tensor([max(0, owner) for owner in there.owners])
    shares = shapley(
        function, there.ids.unsqueeze(0), there.blanked.unsqueeze(0), parts,
        most=2, seed=_SEED, at_once=_AT_ONCE,
    )[0]  # fmt: skip
    found: defaultdict[str, float] = defaultdict(float)
    for word, share in zip(there.words, shares.tolist(), strict=True):
        found[word.name] += share
    return dict(found)


def _readings(candidate: Model, data: Dataset, rows: dict[str, list[Row]]) -> Explanations:
    network, features = candidate.network, candidate.features
    against = readings.background(network, data.training, features, _SEED)[:_BACKGROUND]
    classes = []
    for label, held_out in rows.items():
        chosen = held_out[:ROWS]
        if not chosen:
            continue
        values = candidate.inputs(chosen)
        found, _, _ = readings.shares(network, values, against, label, most=_ORDERS, seed=_SEED)
        shares = [dict(zip(features, row, strict=True)) for row in found.tolist()]
        seen = {
            name: (_mean(column), float(usual))
            for name, column, usual in zip(features, values.T, network.centre, strict=True)
        }
        classes.append(
            Spoken(
                label=label, rows=len(chosen), held_out=len(held_out),
                speaks_for=_told(shares, seen), against=_told(shares, seen, against=True),
            )
        )  # fmt: skip
    return Explanations(
        unit=unit_of(network),
        method=f"Shapley values of readings, {readings.told_orders(len(features), _ORDERS)} orders, "
        f"against {len(against)} training rows",
        classes=tuple(classes),
    )


def _in_turns(rows: dict[str, list[Row]]) -> Iterable[tuple[str, Row]]:
    """Yield a row of each class, then a second of each, up to the most of a class."""
    for turn in zip_longest(*(held_out[:ROWS] for held_out in rows.values())):
        for label, row in zip(rows, turn, strict=True):
            if row is not None:
                yield label, row


def _told(
    rows: Sequence[dict[str, float]],
    seen: dict[str, tuple[float | None, float]] | None = None,
    *,
    against: bool = False,
) -> tuple[Speaks, ...]:
    """Return what speaks for a class, or against it, most first."""
    means: defaultdict[str, float] = defaultdict(float)
    for shares in rows:
        for name, share in shares.items():
            means[name] += share / len(rows)
    sign = -1 if against else 1
    order = sorted((name for name in means if sign * means[name] > 0), key=lambda n: (-sign * means[n], n))
    told = []
    for name in order[: _AGAINST if against else TOLD]:
        value, usual = (seen or {}).get(name, (None, None))
        count = sum(name in shares for shares in rows)
        told.append(Speaks(name=name, share=_rounded(means[name]), rows=count, value=value, usual=usual))
    return tuple(told)


def _rounded(share: float) -> float:
    """Return a share without the digits in which one processor differs from another."""
    return round(share, 4)


def _mean(column: np.ndarray[tuple[int], np.dtype[np.float32]]) -> float | None:
    there = column[~np.isnan(column)]
    return float(there.mean(dtype=np.float64)) if len(there) else None
