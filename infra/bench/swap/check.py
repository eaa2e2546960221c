"""Was every event answered once, by the right version? Consumes answers and the swap ledger, produces counts.

The ledger (`models.swaps`, outcome `answered`) names the first offset of each partition that a version
answered: an answer is right where it carries the version of the last entry at or below its offset, and a
label that this version has.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from schemas.prediction import Prediction
from schemas.release import Swap
from serving.follow_releases import ANSWERED


class Verdict(NamedTuple):
    """How many events were lost, doubled, or answered by another version than the ledger says."""

    lost: int
    doubled: int
    mixed: int


def verdict(
    sent: Iterable[str],
    predictions: Sequence[Prediction],
    swaps: Iterable[Swap],
    owns: Callable[[str, int], bool],
) -> Verdict:
    """Compare; `sent` are the ids of acknowledged events, `owns(label, version)` tells a version's labels."""
    found = Counter(prediction.id for prediction in predictions)
    wanted = set(sent)
    ledger = entries(swaps)
    return Verdict(
        lost=len(wanted - found.keys()),
        doubled=sum(times - 1 for name, times in found.items() if name in wanted),
        mixed=sum(not _right(prediction, ledger, owns) for prediction in predictions),
    )


def entries(swaps: Iterable[Swap]) -> dict[str, list[tuple[int, int]]]:
    """Return, for each `topic:partition`, (first offset, version) of every entry, ascending."""
    ledger: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for swap in swaps:
        if swap.outcome == ANSWERED:
            for place, offset in swap.first_offsets.items():
                ledger[place].append((offset, swap.version))
    return {place: sorted(found) for place, found in ledger.items()}


def _right(
    prediction: Prediction,
    ledger: Mapping[str, Sequence[tuple[int, int]]],
    owns: Callable[[str, int], bool],
) -> bool:
    at = prediction.event
    known = ledger.get(f"{at.topic}:{at.partition}", ())
    place = bisect_right(known, at.offset, key=lambda entry: entry[0]) - 1
    if place < 0 or not owns(prediction.label, prediction.version):
        return False
    return known[place][1] == prediction.version
