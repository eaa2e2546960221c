"""Decides which rows go through a model together: row lengths in, groups of row numbers out.

An answer may not depend on its batch mates. So a policy that joins rows is allowed only after the model
itself has shown, at load, that it gives the same answers alone and in company; among those allowed the
fastest one is taken. Rows of unequal length are never joined: padding would have to be trusted.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

INDEPENDENT_WITHIN: Final = 1e-6
"""Largest difference, relative to the row's largest output where that is above 1, that counts as the same."""

_WORTH_IT: Final = 1.15
_ROUNDS: Final = 3
_BUDGET_S: Final = 0.3

Groups = list[list[int]]
Outputs = list[npt.NDArray[np.float32]]


class Policy(StrEnum):
    """Which rows are run together."""

    SINGLE = "single"
    EQUAL_LENGTH = "equal_length"


def groups(policy: Policy, lengths: Sequence[int], max_rows: int) -> Groups:
    """Split rows into groups of one length and of at most `max_rows`, in an order that is always the same."""
    if policy is Policy.SINGLE:
        return [[row] for row in range(len(lengths))]
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for row, length in enumerate(lengths):
        by_length[length].append(row)
    return [
        rows[start : start + max_rows]
        for rows in by_length.values()
        for start in range(0, len(rows), max_rows)
    ]


def independent(alone: Outputs, together: Outputs) -> bool:
    """Tell whether rows got the same outputs in company as alone. A NaN is never the same."""
    for one, other in zip(alone, together, strict=True):
        if one.shape != other.shape:
            return False
        allowed = INDEPENDENT_WITHIN * max(1.0, float(np.abs(one).max(initial=0.0)))
        if not bool(np.all(np.abs(one - other) <= allowed)):
            return False
    return True


def choose(run: Callable[[Policy], Outputs]) -> Policy:
    """Measure both policies on rows of the model's own and return the one to serve with.

    `run` answers the same rows under a policy in the calling thread, each row's output by itself and in the
    rows' order. What counts is this thread's processor time, which other work on the machine does not
    stretch; it is measured until a few rounds are done or 0.3 s have passed.
    """
    if not independent(run(Policy.SINGLE), run(Policy.EQUAL_LENGTH)):
        return Policy.SINGLE
    took: dict[Policy, list[float]] = {policy: [] for policy in Policy}
    deadline = time.perf_counter() + _BUDGET_S
    for _ in range(_ROUNDS):
        for policy, times in took.items():
            began = time.thread_time()
            run(policy)
            times.append(time.thread_time() - began)
        if time.perf_counter() > deadline:
            break
    single, together = (min(took[policy]) for policy in Policy)
    return Policy.EQUAL_LENGTH if single > _WORTH_IT * together else Policy.SINGLE
