"""What speaks for each class: consumes a judged candidate and its held-out rows, produces a card's section.

It is part of a training, whose end a stream in drift waits for, so its work is bounded by rows and by runs of
the graph, and not by the clock: the same candidate is explained in the same way again. Texts are asked of the
graph that would be served, by Shapley values over an order of their words and its reverse: that takes no
gradients, so an increment of a head need not load the encoder's network for it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Final, NamedTuple

import msgspec
import numpy as np
import torch
from torch import Tensor

from schemas.release import Task
from trainers.dataset import Dataset
from trainers.encoder import Encoder
from trainers.explain import readings, texts
from trainers.explain.explanation import explained, unit_of
from trainers.explain.shapley import shapley
from trainers.explain.words import words
from trainers.markdown import cell, code
from trainers.model import ANOMALY, Model
from trainers.reservoir import key
from trainers.row import Row

CLASSES: Final = 20
ROWS: Final = 8
TOLD: Final = 8
_AGAINST: Final = 3
_SEED: Final = 11
_TOKENS: Final = 12_000
"""Tokens that the graph may read for it: a second of MiniLM on a free core, three beside a live system."""

_WORDS: Final = 12
"""Words of a text that are told one by one: those that mark its class off most; the rest is one part."""

_ORDERS: Final = 24
_STEPS: Final = 10**8
"""Readings that may be moved for it: about two seconds; of many readings fewer orders are walked."""

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


class _Shares(NamedTuple):
    """The shares of a class's explained rows, by name; `seen` are readings' means and what is usual."""

    rows: list[dict[str, float]]
    held_out: int
    seen: Mapping[str, tuple[float | None, float]] = {}

    def told(self, sign: int) -> tuple[Speaks, ...]:
        """Return what speaks for the class (1) or against it (-1), most first.

        Shares are rounded to the digits in which processors agree.
        """
        means: defaultdict[str, float] = defaultdict(float)
        for shares in self.rows:
            for name, share in shares.items():
                means[name] += share / len(self.rows)
        rounded = {name: round(mean, 4) for name, mean in means.items()}
        told = []
        for name in sorted(rounded, key=lambda name: (-sign * rounded[name], name)):
            if sign * rounded[name] <= 0:
                break
            value, usual = self.seen.get(name, (None, None))
            count = sum(name in shares for shares in self.rows)
            told.append(Speaks(name=name, share=rounded[name], rows=count, value=value, usual=usual))
        return tuple(told)


def by_class(candidate: Model, data: Dataset, *, sound: bool) -> Explanations:
    """Return what speaks for each class of a candidate; of one that is not `sound` why nothing does."""
    if not sound:
        return Explanations(note="Not explained: the candidate is broken, so its answers have no reasons.")
    rows = _by_label(candidate, data.test)
    if candidate.encoder is None:
        return _readings(candidate, data, rows)
    return _texts(candidate, candidate.encoder, rows)


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

    Of a model without classes those that score highest; of a regression also the lowest.
    """
    if candidate.task is not Task.CLASSIFICATION:
        scores = candidate.outputs(held_out) if held_out else np.zeros(0)
        order = sorted(range(len(held_out)), key=lambda n: (-scores[n], held_out[n].source, held_out[n].id))
        ranked = [held_out[number] for number in order]
        return {ANOMALY: ranked} if candidate.task is Task.ANOMALY else {"high": ranked, "low": ranked[::-1]}
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


def _texts(candidate: Model, encoder: Encoder, rows: Mapping[str, list[Row]]) -> Explanations:
    found: defaultdict[str, list[dict[str, float]]] = defaultdict(list)
    telling = _telling(rows)
    left = _TOKENS
    for label, row in _in_turns(rows):
        there = texts.tokens(encoder.tokenizer, row.text)
        names = [word.name for word in there.words]
        told = sorted(range(len(names)), key=lambda n: (-telling[label].get(names[n], 0.0), n))[:_WORDS]
        cost = (2 * min(len(there.words), len(told) + 1) + 1) * len(there.ids)
        if told and cost <= left:
            left -= cost
            found[label].append(_of_text(candidate, encoder, there, sorted(told), label))
    silent = [label for label in rows if not found[label]]
    return _section(
        candidate,
        f"Shapley values of words, masked in an order and its reverse; {candidate.precision} graph",
        {label: _Shares(found[label], len(rows[label])) for label in rows if found[label]},
        f"Not explained, for a training has no time for more texts: {', '.join(silent)}." if silent else "",
    )


def _telling(rows: Mapping[str, list[Row]]) -> dict[str, dict[str, float]]:
    """Return by how much more of a class's rows than of the others' have a word, by class and word."""
    counts = {
        label: Counter(name for row in held_out for name in {word.name for word in words(row.text)})
        for label, held_out in rows.items()
    }
    total, every = sum(map(len, rows.values())), sum(counts.values(), Counter[str]())
    return {
        label: {
            name: count / len(rows[label]) - (every[name] - count) / max(1, total - len(rows[label]))
            for name, count in found.items()
        }
        for label, found in counts.items()
    }


def _of_text(
    candidate: Model, encoder: Encoder, there: texts.Tokens, told: list[int], label: str
) -> dict[str, float]:
    """Return the shares of the `told` words of a text in the log-odds of a label, by word."""

    def function(ids: Tensor) -> Tensor:
        vectors = encoder.vectors(ids.tolist(), candidate.precision)
        return explained(candidate.network, torch.from_numpy(candidate.network.answer(vectors)), label)

    part = {word: number for number, word in enumerate(told)}
    rest = len(told) if len(told) < len(there.words) else 0
    # A special token is the same at both ends, so it may come and go with any word.
    parts = torch.tensor([part.get(owner, 0 if owner < 0 else rest) for owner in there.owners])
    shares = shapley(
        function, there.ids.unsqueeze(0), there.blanked.unsqueeze(0), parts,
        most=2, seed=_SEED, at_once=_AT_ONCE,
    )[0]  # fmt: skip
    found: defaultdict[str, float] = defaultdict(float)
    for word, share in zip(told, shares.tolist(), strict=False):  # the rest's share comes last
        found[there.words[word].name] += share
    return dict(found)


def _readings(candidate: Model, data: Dataset, rows: Mapping[str, list[Row]]) -> Explanations:
    network, features = candidate.network, candidate.features
    against = readings.background(network, data.training, features, _SEED)[:_BACKGROUND]
    cost = max(1, len(rows) * ROWS * len(against) * len(features) ** 2)
    orders = max(1, min(_ORDERS, _STEPS // cost) // 2) * 2
    found = {}
    for label, held_out in rows.items():
        chosen = held_out[:ROWS]
        if not chosen:
            continue
        values = candidate.inputs(chosen)
        shares, _, _ = readings.shares(network, values, against, label, most=orders, seed=_SEED)
        seen = {
            name: (_mean(column), float(usual))
            for name, column, usual in zip(features, values.T, network.centre, strict=True)
        }
        by_name = [dict(zip(features, row, strict=True)) for row in shares.tolist()]
        found[label] = _Shares(by_name, len(held_out), seen)
    walked = readings.told_orders(len(features), orders)
    method = f"Shapley values of readings, {walked} orders, against {len(against)} training rows"
    return _section(candidate, method, found)


def _section(
    candidate: Model, method: str, found: Mapping[str, _Shares], note: str = ""
) -> Explanations:  # fmt: skip
    """Return what is told of the classes, or that nothing is where any share is no number."""
    shares = [share for one in found.values() for row in one.rows for share in row.values()]
    if not np.isfinite(shares).all():
        return Explanations(note="Not explained: some of its answers are no finite numbers.")
    classes = tuple(
        Spoken(
            label=label, rows=len(one.rows), held_out=one.held_out,
            speaks_for=one.told(1)[:TOLD], against=one.told(-1)[:_AGAINST],
        )
        for label, one in found.items()
    )  # fmt: skip
    return Explanations(unit=unit_of(candidate.network), method=method, classes=classes, note=note)


def _in_turns(rows: Mapping[str, list[Row]]) -> Iterable[tuple[str, Row]]:
    """Yield a row of each class, then a second of each, up to the most of a class."""
    for turn in zip_longest(*(held_out[:ROWS] for held_out in rows.values())):
        for label, row in zip(rows, turn, strict=True):
            if row is not None:
                yield label, row


def _mean(column: np.ndarray[tuple[int], np.dtype[np.float32]]) -> float | None:
    there = column[~np.isnan(column)]
    return float(there.mean(dtype=np.float64)) if len(there) else None
