"""Old rows that recent ones contradict: consumes a Dataset, produces it without them among the held-out ones.

Where what is true of the same events has changed, a candidate that answers as recent labels do has forgotten
nothing by it. The idea is that of the cleaning in SAM-kNN (V. Losing, B. Hammer and H. Wersing, "KNN
classifier with self adjusting memory for heterogeneous concept drift", ICDM 2016).
"""

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.release import Task
from trainers.dataset import Dataset, targets
from trainers.model import Model
from trainers.row import Row

NEIGHBOURS: Final = 5

_CHUNK: Final = 1024


Truth = NDArray[np.str_] | NDArray[np.float64]


def outdated(
    recent: Tensor, recent_truth: Truth, old: Tensor, old_truth: Truth, count: int,
    within: float | None = None,
) -> NDArray[np.bool_]:  # fmt: skip
    """Return (count,) whether the recent rows (N, F) contradict each of the first `count` old rows of (M, F).

    They do if its five nearest old rows mostly say what it says, of the five nearest recent rows at most one
    does, and those lie about as near (at least half as densely) as old ones do. Where recent rows do not
    come, or where the old ones never agreed, nothing is contradicted.

    Of numbers the medians of both fives lie further apart than `within`: one row alone is too noisy to agree
    or not. Recent rows may be a quarter as dense then, for what a number depends on changes by and by.
    """
    rows, others = len(old), len(recent)
    found = np.zeros(count, dtype=np.bool_)
    if min(rows - 1, others) < NEIGHBOURS:
        return found
    sparser = 2 if within is None else 4
    ranks = min(rows - 1, max(NEIGHBOURS, math.ceil(sparser * NEIGHBOURS * rows / others)))
    for begin in range(0, count, _CHUNK):
        part = slice(begin, min(count, begin + _CHUNK))
        to_recent = torch.cdist(old[part], recent).topk(NEIGHBOURS, largest=False)  # (P, 5)
        distances = torch.cdist(old[part], old)  # (P, M)
        distances[torch.arange(len(distances)), torch.arange(part.start, part.stop)] = torch.inf
        to_old = distances.topk(ranks, largest=False)  # (P, ranks), nearest first
        before = old_truth[to_old.indices[:, :NEIGHBOURS].numpy()]  # (P, 5)
        now = recent_truth[to_recent.indices.numpy()]  # (P, 5)
        if within is None:
            own = old_truth[part, None]
            moved = ((before == own).sum(1) > NEIGHBOURS / 2) & ((now == own).sum(1) <= 1)
        else:
            moved = np.abs(np.median(now, axis=1) - np.median(before, axis=1)) > within
        near = (to_recent.values[:, -1] <= to_old.values[:, -1]).numpy()
        found[part] = moved & near
    return found


def still_true(data: Dataset, champion: Model) -> Dataset:
    """Return a dataset without the old held-out rows that are outdated: forgetting is judged by the others.

    Rows are compared as `champion` sees them: in text vectors or readings, standardised; what a regression's
    say is how far they lie from its answer, since their numbers change from row to row in any case. What is
    trained on stays as it is: the recent rows are there beside the old ones, and outweigh them where it pays.
    """
    asked = data.old_held_out
    found = contradicted(data.recent, asked, data.old, champion)
    kept = [row for row, out in zip(asked, found, strict=True) if not out]
    return msgspec.structs.replace(data, old_held_out=kept)


def replayable(data: Dataset, champion: Model) -> Dataset:
    """Return a dataset without the old training and validation rows that recent ones contradict.

    Two classes of one event are learnt beside one another, as likely as they are; of two numbers a network
    learns what lies between, which is neither.
    """
    asked = [*data.old, *data.old_validation]
    gone = contradicted([*data.recent, *data.recent_validation], asked, [], champion)
    there = {(row.source, row.id) for row, out in zip(asked, gone, strict=True) if not out}
    old, checked = (
        [row for row in rows if (row.source, row.id) in there] for rows in (data.old, data.old_validation)
    )
    return msgspec.structs.replace(data, old=old, old_validation=checked)


def contradicted(
    recent: Sequence[Row], asked: Sequence[Row], others: Sequence[Row], champion: Model
) -> NDArray[np.bool_]:
    """Return (N,) which of the `asked` old rows are outdated, beside `others` that are old too."""
    if not asked:
        return np.zeros(0, dtype=np.bool_)
    rows = [*recent, *asked, *others]
    network, inputs = champion.network, champion.at("fp32").inputs(rows)
    truth: Truth = np.array([row.label for row in rows])
    within = None
    if champion.task is Task.REGRESSION:
        truth, within = targets(rows) - network.answer(inputs), float(network.threshold)
    with torch.no_grad():
        vectors = network.standardise(torch.from_numpy(inputs))
    count = len(recent)
    return outdated(vectors[:count], truth[:count], vectors[count:], truth[count:], len(asked), within)
