"""Labelled streams that arrive part by part: consume real recordings, produce the rows of each increment.

Six parts each, so that a first model is followed by five increments; a part's held-out rows are no rows of
the stream. Intents (clinc150) bring classes that were never seen; the readings of gas sensors (A. Vergara et
al., "Chemical gas sensor drift compensation using classifier ensembles", 2012) drift over months.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import Fatal
from schemas.record import Coordinates
from trainers.row import Row

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_FOLDS: Final = 5
_QUARTERS: Final = 4
_FIRST_INTENTS: Final = 7


@dataclass(frozen=True)
class Part:
    """What arrives together: the rows to learn from, oldest first, and those that only measure."""

    name: str
    rows: list[Row]
    held_out: list[Row]


@dataclass(frozen=True)
class Arriving:
    """One stream: its kind as in `headrace.toml`, and its parts in the order in which they arrive."""

    name: str
    kind: str
    seed: int
    parts: tuple[Part, ...]


class _Intents(msgspec.Struct):
    """`five_domains.json`: intents of each domain, and texts with their intents."""

    domains: dict[str, list[str]]
    train: list[tuple[str, str]]
    test: list[tuple[str, str]]


def intents(data: Path, seed: int) -> Arriving:
    """Return the five domains of clinc150, the first one in two parts; `seed` shuffles within a part.

    Held out are the texts that the data set itself sets apart for the test, 30 of each intent.

    Raises:
        Fatal: the file is missing.
    """
    told = msgspec.json.decode(_read(data / "clinc150" / "five_domains.json"), type=_Intents)
    (first, begins), *others = told.domains.items()
    groups = [
        (f"{first} 1", begins[:_FIRST_INTENTS]),
        (f"{first} 2", begins[_FIRST_INTENTS:]),
        *others,
    ]
    parts = []
    for number, (name, wanted) in enumerate(groups):
        training, test = (
            [(text, label) for text, label in texts if label in wanted] for texts in (told.train, told.test)
        )
        random.Random(seed).shuffle(training)
        parts.append(
            Part(
                name,
                [_row(number, at, label, text=text) for at, (text, label) in enumerate(training)],
                [_row(number, at, label, text=text, mark="test") for at, (text, label) in enumerate(test)],
            )
        )
    return Arriving("intents", "api", seed, tuple(parts))


def gases(data: Path, seed: int) -> Arriving:
    """Return three batches of the gas sensors in the order of the files, the second one in quarters.

    Held out is one row in five, another fifth for each of five seeds.

    Raises:
        Fatal: a file is missing.
    """
    batches = [_batch(data / "gas_sensor_drift" / f"batch{number}.dat") for number in (1, 2, 4)]
    second = len(batches[1])
    cuts = [second * number // _QUARTERS for number in range(_QUARTERS + 1)]
    quarters = [
        (f"batch 2, {n + 1} of {_QUARTERS}", batches[1][cuts[n] : cuts[n + 1]]) for n in range(_QUARTERS)
    ]
    groups = [("batch 1", batches[0]), *quarters, ("batch 4", batches[2])]
    parts = []
    for number, (name, readings) in enumerate(groups):
        rows = [_row(number, at, gas, values=values) for at, (gas, values) in enumerate(readings)]
        parts.append(
            Part(
                name,
                [row for at, row in enumerate(rows) if at % _FOLDS != seed % _FOLDS],
                rows[seed % _FOLDS :: _FOLDS],
            )
        )
    return Arriving("gases", "sensor", seed, tuple(parts))


def _batch(path: Path) -> list[tuple[str, Sequence[float]]]:
    """Return gas and readings of each line; the concentration is no input."""
    lines = _read(path).decode().split()
    return [(gas, [float(value) for value in rest[1:]]) for gas, *rest in (x.split(",") for x in lines)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Fatal(
            f"{path} cannot be read ({error.strerror}); --data names the folder it lies in"
        ) from error


def _row(
    part: int, at: int, label: str, *, text: str = "", values: Sequence[float] = (), mark: str = "row"
) -> Row:
    return Row(
        source=f"part-{part}",
        id=f"{mark}-{at}",
        time=_START + timedelta(days=part, seconds=at),
        event=Coordinates("events.clean", 0, part * 1_000_000 + at),
        label=label,
        text=text,
        values={f"s{number:03d}": value for number, value in enumerate(values)},
    )
