"""What bringing a version back saves: consumes streams whose concept leaves and returns, produces seconds.

A, then the opposite of it, then A again; each time drift is answered by the trainer's own way, with
`learn.recall` and without. Both begin from the same two releases.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from infra.bench.train.worlds import World
from schemas.config import Stream
from schemas.errors import Fatal
from schemas.release import Release
from trainers.dataset import Dataset, split
from trainers.encoder import prepare
from trainers.outcome import Job, Outcome
from trainers.pipeline import train
from trainers.row import Row
from trainers.succession import succeeding

_ROWS: Final = 600
_LABELS: Final = 300
"""Labels since the last drift: fewer than the first two models learnt from."""


class Return(msgspec.Struct, frozen=True, kw_only=True):
    """How a concept that came back was answered: by which version, how good, in how many seconds."""

    kind: str
    seed: int
    recall: bool
    released: bool
    version: int
    accuracy: float
    seconds: float
    steps: dict[str, float]
    reasons: tuple[str, ...]


def run(home: Path, seeds: int, text_seeds: int, tell: Callable[[Return], None]) -> dict[str, Any]:
    """Let the concept of each stream leave and return, and return the figures."""
    done: list[Return] = []
    worlds = [World("readings", seed) for seed in range(1, seeds + 1)]
    if text_seeds:
        encoder = prepare(home, "", max_tokens=64)
        worlds += [World("requests", seed, encoder) for seed in range(1, text_seeds + 1)]
    for world in worlds:
        for one in returns(world, home):
            done.append(one)
            tell(one)
    found = {}
    for kind in dict.fromkeys(one.kind for one in done):
        with_it, without = ([o for o in done if (o.kind, o.recall) == (kind, on)] for on in (True, False))
        found[kind] = {
            "returns": len(with_it),
            "brought_back": sum(one.version == 1 and one.released for one in with_it),
            "recalled_s": float(np.median([one.seconds for one in with_it])),
            "trained_s": float(np.median([one.seconds for one in without])),
            "recalled_accuracy": float(np.mean([one.accuracy for one in with_it])),
            "trained_accuracy": float(np.mean([one.accuracy for one in without])),
        }
    return {"recurring": found, "returns": done}


def returns(world: World, home: Path) -> list[Return]:
    """Answer the return of a world's concept, brought back and trained."""
    first = _released(_job(world, home), _data(world, 1, turned=False))
    second = _released(_job(world, home, first), _data(world, 2, turned=True))
    serving = succeeding(second, succeeding(first, None))
    data = _data(world, 3, turned=False, rows=_LABELS)
    found = []
    for recall in (True, False):
        began = time.monotonic()
        outcome = train(_job(world, home, serving, recall=recall), data)
        found.append(
            Return(
                kind="texts" if world.encoder else "readings",
                seed=world.seed,
                recall=recall,
                released=outcome.released,
                version=outcome.release.version,
                accuracy=outcome.metrics.get("accuracy", 0.0),
                seconds=round(time.monotonic() - began, 3),
                steps=outcome.seconds,
                reasons=outcome.reasons,
            )
        )
    return found


def _released(job: Job, data: Dataset) -> Release:
    outcome: Outcome = train(job, data)
    if not outcome.released:
        raise Fatal(f"the model before the return was rejected: {'; '.join(outcome.reasons)}")
    return outcome.release


def _data(world: World, time_of: int, *, turned: bool, rows: int = _ROWS) -> Dataset:
    """Return rows of one time; where the concept is turned each class has its neighbour's name."""
    names = dict(zip(world.labels, (*world.labels[1:], world.labels[0]), strict=True))

    def moved(row: Row) -> Row:
        label = names[row.label] if turned else row.label
        return msgspec.structs.replace(row, label=label, time=row.time + timedelta(days=100 * time_of))

    return split([moved(row) for row in world.sample("old", rows, 10 + time_of).rows])


def _job(world: World, home: Path, champion: Release | None = None, *, recall: bool = True) -> Job:
    name = f"{world.name}-{world.seed}-returns"
    model = {"name": name, "learn": {"recall": recall, "seed": world.seed}}
    kind = "api" if world.encoder else "sensor"
    stream = Stream.model_validate({"kind": kind, "model": model, "gate": {"p99_ms": 1000}})
    run = home / "trainer" / "runs" / name
    run.mkdir(parents=True, exist_ok=True)
    return Job(
        home=str(home), stream=name, config=stream.model_dump_json(), run=str(run), champion=champion
    )  # fmt: skip
