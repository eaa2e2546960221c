"""The gate against planted candidates: consumes plants, produces releases on disk, and what became of each.

The way is the trainer's own (`trainers.pipeline.train`) from the tuned model on: real graphs, a real folder,
the same examination. Between writing and examination the plant's flaw is put into the folder.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from infra.bench.train.planted import Plant, bad, good
from infra.bench.train.worlds import World, lost
from schemas.config import Gate, Stream
from trainers import export, folders, release
from trainers.dataset import Dataset
from trainers.encoder import prepare
from trainers.evaluate import choose_variant, judged_by
from trainers.examine import examine
from trainers.golden import Golden, by_turns, version_of
from trainers.manifest import Asked, draft
from trainers.outcome import Job

_POINT: Final = 0.01 - 1e-9
_OLD_ROWS: Final = 2000
_GOLDEN_ROWS: Final = 300
_LEARNT_ROWS: Final = 200


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one planted candidate.

    `gain` is what it truly gains on the recent era and `forgetting` what it loses on the old one, on the
    world's reference rows; `measured` is the gain that the gate saw, None where it refused the folder.
    """

    world: str
    seed: int
    kind: str
    good: bool
    rows: int
    released: bool
    gain: float
    forgetting: float
    measured: float | None
    reasons: tuple[str, ...]
    seconds: float


def worlds(home: Path, sensor_seeds: int, text_seeds: int) -> Iterator[World]:
    """Yield a world of readings for each seed, then of texts; these share one encoder, kept in `home`."""
    for seed in range(1, sensor_seeds + 1):
        yield World("readings", seed)
    if text_seeds:
        encoder = prepare(home, "", max_tokens=64)
        for seed in range(1, text_seeds + 1):
            yield World("requests", seed, encoder)
            encoder.save()


def attempt(world: World, plant: Plant, home: Path, number: int) -> Attempt:
    """Submit a planted candidate to the gate; it is released where the gate lets it."""
    began = time.monotonic()
    recent = world.sample("recent", plant.rows, 100 + number)
    old = world.sample("old", _OLD_ROWS, 100 + number)
    learnt = world.sample("recent", _LEARNT_ROWS, 3)
    data = Dataset(
        recent=learnt.rows,
        recent_held_out=recent.rows,
        old_held_out=[] if plant.recent_only else old.rows,
    )
    golden = None if plant.recent_only else _golden(world)
    job = _job(world, home)
    releases, gate = home / "releases", Gate()

    candidate, champion = plant.candidate, plant.champion
    with release.building(releases, job.model) as folder:
        variants = export.write(folder, candidate.network, candidate.encoder)
        judged = [row for part in judged_by(data) for row in part]
        served, agreement = choose_variant(candidate, judged, gate, "auto")
        candidate, champion = candidate.at(served), champion.at(served)
        version = folders.reserve(home, releases, job.model)
        manifest = release.complete(
            folder, candidate, recent.rows, draft(Asked.by(job), candidate, data, variants, version)
        )
        manifest = plant.spoil(folder, manifest)
        examined = examine(folder, manifest, candidate, champion, data, golden, gate, agreement)
        verdict = examined.verdict
        if verdict.released:
            release.finish(folder, releases, msgspec.structs.replace(manifest, metrics=verdict.metrics))
    return Attempt(
        world=world.name,
        seed=world.seed,
        kind=plant.kind,
        good=plant.good,
        rows=plant.rows,
        released=version in folders.versions(releases, job.model),
        gain=round(-lost(world, champion.network, candidate.network) / 100, 5),
        forgetting=round(lost(world, champion.network, candidate.network, "old") / 100, 5),
        measured=verdict.metrics.get("gain"),
        reasons=verdict.reasons,
        seconds=round(time.monotonic() - began, 3),
    )


def run(home: Path, every: Iterable[World], tell: Callable[[Attempt], None]) -> dict[str, Any]:
    """Submit every planted candidate of every world and return the figures."""
    done: list[Attempt] = []
    for world in every:
        for plant in (*bad(world), *good(world)):
            done.append(attempt(world, plant, home, len(done)))
            tell(done[-1])
    return figures(done)


def figures(attempts: Iterable[Attempt]) -> dict[str, Any]:
    """Return counts by kind, and each attempt.

    A good candidate counts as tried where the gate's rows show a gain of a point or more and it truly forgets
    nothing: chance may show less, and a gate that sees no gain must not release it. Others are `undecided`.
    """
    every = list(attempts)
    good_ones = [one for one in every if one.good]
    seen = [
        one for one in good_ones if one.forgetting <= 0 and (one.measured is None or one.measured >= _POINT)
    ]
    undecided = [one for one in good_ones if one not in seen]
    bad_ones = [one for one in every if not one.good]
    return {
        "planted": {"bad": len(bad_ones), "released": sum(one.released for one in bad_ones)},
        "good": {"tried": len(seen), "released": sum(one.released for one in seen)},
        "undecided": {"tried": len(undecided), "released": sum(one.released for one in undecided)},
        "kinds": {
            kind: {"tried": len(those), "released": sum(one.released for one in those)}
            for kind in dict.fromkeys(one.kind for one in every)
            for those in [[one for one in every if one.kind == kind]]
        },
        "median_seconds": float(np.median([one.seconds for one in every])) if every else 0.0,
        "attempts": every,
    }


def _golden(world: World) -> Golden:
    rows = by_turns(world.sample("old", 2 * _GOLDEN_ROWS, 50).rows, _GOLDEN_ROWS)
    return Golden(version=version_of(rows), rows=rows)


def _job(world: World, home: Path) -> Job:
    kind = "api" if world.encoder else "sensor"
    stream = Stream.model_validate({"kind": kind, "model": {}})
    name = f"{world.name}-{world.seed}"
    return Job(home=str(home), stream=name, config=stream.model_dump_json(), run=str(home))
