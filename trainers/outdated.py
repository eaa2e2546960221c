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

from trainers.dataset import Dataset, Row
from trainers.model import Model

NEIGHBOURS: Final = 5

_CHUNK: Final = 1024


def outdated(
    recent: Tensor, recent_labels: NDArray[np.str_], old: Tensor, old_labels: NDArray[np.str_], count: int
) -> NDArray[np.bool_]:
    """Return (count,) whether the recent rows (N, F) contradict each of the first `count` old rows of (M, F).

    They do if its five nearest old rows mostly say what it says, of the five nearest recent rows at most one
    does, and those lie about as near (at least half as densely) as old ones do. Where recent rows do not
    come, or where the old ones never agreed, nothing is contradicted.
    """
    rows, others = len(old), len(recent)
    found = np.zeros(count, dtype=np.bool_)
    if min(rows - 1, others) < NEIGHBOURS:
        return found
    ranks = min(rows - 1, max(NEIGHBOURS, math.ceil(2 * NEIGHBOURS * rows / others)))
    for begin in range(0, count, _CHUNK):
        part = slice(begin, min(count, begin + _CHUNK))
        own = old_labels[part, None]
        to_recent = torch.cdist(old[part], recent).topk(NEIGHBOURS, largest=False)  # (P, 5)
        distances = torch.cdist(old[part], old)  # (P, M)
        distances[torch.arange(len(distances)), torch.arange(part.start, part.stop)] = torch.inf
        to_old = distances.topk(ranks, largest=False)  # (P, ranks), nearest first
        agreed = (old_labels[to_old.indices[:, :NEIGHBOURS].numpy()] == own).sum(1) > NEIGHBOURS / 2
        denied = (recent_labels[to_recent.indices.numpy()] == own).sum(1) <= 1
        near = (to_recent.values[:, -1] <= to_old.values[:, -1]).numpy()
        found[part] = agreed & denied & near
    return found


def still_true(data: Dataset, champion: Model) -> Dataset:
    """Return a dataset without the old held-out rows that are outdated: forgetting is judged by the others.

    Rows are compared as `champion`, a classifier, sees them: in text vectors or readings, standardised. What
    is trained on stays as it is: the recent rows are there beside the old ones, and outweigh them where it
    pays.
    """
    asked = data.old_held_out
    found = contradicted(data.recent, asked, data.old, champion)
    kept = [row for row, out in zip(asked, found, strict=True) if not out]
    return msgspec.structs.replace(data, old_held_out=kept)


def contradicted(
    recent: Sequence[Row], asked: Sequence[Row], others: Sequence[Row], champion: Model
) -> NDArray[np.bool_]:
    """Return (N,) which of the `asked` old rows are outdated, beside `others` that are old too."""
    if not asked:
        return np.zeros(0, dtype=np.bool_)
    rows = [*recent, *asked, *others]
    with torch.no_grad():
        vectors = champion.network.standardise(torch.from_numpy(champion.at("fp32").inputs(rows)))
    labels, count = np.array([row.label for row in rows]), len(recent)
    return outdated(vectors[:count], labels[:count], vectors[count:], labels[count:], len(asked))
