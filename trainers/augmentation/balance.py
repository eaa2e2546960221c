"""Which rows are varied, and how often: consumes training rows, produces variants of the rare classes' rows.

By default only where classes are strongly out of balance. Variants are made of training rows only, are the
same in every run of the same seed, and none repeats a text that the model is tested on.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from schemas.config import Learn
from trainers.augmentation.augmenter import Augmenter
from trainers.augmentation.readings import Readings
from trainers.dataset import Dataset
from trainers.row import Row

VARIANTS: Final = 4
"""Variants of one row at most: more teach the row, not the class."""

MARK: Final = "#variant-"
"""Between the id of a row and the number of its variant."""


def wanted(counts: Mapping[str, int], learn: Learn) -> dict[str, int]:
    """Return how many variants each class is to get.

    `auto`: a class rarer than one in `augment_ratio` of the largest is brought up to that; `on`: each is
    brought up to the largest; neither beyond four variants a row.
    """
    if learn.augment == "off" or len(counts) < 2:
        return {}
    largest = max(counts.values())
    goal = largest if learn.augment == "on" else int(largest / learn.augment_ratio)
    short = {label: min(goal - count, VARIANTS * count) for label, count in sorted(counts.items())}
    return {label: number for label, number in short.items() if number > 0}


def variants(data: Dataset, learn: Learn, texts: Callable[[], Augmenter]) -> list[Row]:
    """Return variants of a dataset's training rows; `texts` makes the augmenter, once it is needed.

    Raises:
        Fatal: the augmenter cannot be made.
    """
    training = [row for row in data.training if row.label]
    classes = wanted(Counter(row.label for row in training), learn)
    held_out = {row.text for row in (*data.validation, *data.test)}
    made: list[Row] = []
    vary_text: Augmenter | None = None
    for label, number in classes.items():
        rows = sorted((row for row in training if row.label == label), key=lambda row: (row.source, row.id))
        if any(row.text for row in rows):
            vary_text = vary_text or texts()
            made += _texts(rows, number, vary_text, held_out, learn.seed)
        else:
            made += _readings(rows, number, learn.seed)
    return made


def _texts(
    rows: Sequence[Row], number: int, augmenter: Augmenter, held_out: set[str], seed: int
) -> list[Row]:
    """Vary rows by turns; what repeats a text that is there already, or held out, is left out."""
    seen = held_out | {row.text for row in rows}
    made: list[Row] = []
    for turn in range(VARIANTS):
        for row in rows:
            if len(made) >= number:
                return made
            text = augmenter.vary(row.text, _chance(seed, row, turn))
            if text not in seen:
                seen.add(text)
                made.append(_variant(row, turn, text=text))
    return made


def _readings(rows: Sequence[Row], number: int, seed: int) -> list[Row]:
    spread = Readings([row.values for row in rows])
    turns = ((turn, row) for turn in range(VARIANTS) for row in rows)
    return [
        _variant(row, turn, values=spread.vary(row.values, _chance(seed, row, turn)))
        for _, (turn, row) in zip(range(number), turns, strict=False)
    ]


def _variant(row: Row, turn: int, text: str | None = None, values: dict[str, float] | None = None) -> Row:
    changed = {"id": f"{row.id}{MARK}{turn + 1}", "text": row.text if text is None else text}
    return msgspec.structs.replace(row, **changed, values=row.values if values is None else values)


def _chance(seed: int, row: Row, turn: int) -> random.Random:
    """Return randomness of a row's own: what other rows there are changes nothing."""
    name = f"{seed}\0{turn}\0{row.source}\0{row.id}".encode("utf-8", "surrogatepass")
    return random.Random(int.from_bytes(hashlib.blake2b(name, digest_size=8).digest()))
