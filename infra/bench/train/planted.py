"""Candidates that are bad or good in a known way: consume a world, produce models and flaws of their files.

Bad ones answer worse, cannot be trusted to answer what was measured, or lie in a folder that is not what was
trained. Good ones are better by a point or more on a thousand rows or more.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import torch
from torch import nn

from infra.bench.train.worlds import World, worse
from schemas.release import Manifest
from trainers import export
from trainers.model import NETWORK, Model

Spoil = Callable[[Path, Manifest], Manifest]


@dataclass(frozen=True)
class Plant:
    """A candidate and the champion that it must beat, judged on `rows` recent rows.

    `spoil` is done to the candidate's folder once it is written, and returns the manifest it is judged by.
    With `recent_only` there are neither old nor golden rows: nothing but the paired test can tell.
    """

    kind: str
    good: bool
    rows: int
    candidate: Model
    champion: Model
    spoil: Spoil = lambda _folder, manifest: manifest
    recent_only: bool = False


def good(world: World) -> Iterator[Plant]:
    """Yield candidates whose champion is worse by 1, 1.5, 2, 3 or 5 points, and one tuned after a drift."""
    for number, (points, rows) in enumerate(
        ((1.0, 4000), (1.5, 2000), (2.0, 1000), (3.0, 1000), (5.0, 1000))
    ):
        champion = worse(world, world.best, points, 20 + number)
        yield Plant(f"better by {points:g}", True, rows, world.best, champion)
    if world.encoder is None:
        tuned = world.learnt(world.before, ("recent", "old", "old"))  # twice the replay: nothing is lost
        yield Plant("tuned after a drift", True, 1000, tuned, world.before)


def bad(world: World) -> Iterator[Plant]:
    """Yield one candidate of each bad kind."""
    plant = partial(Plant, good=False, champion=world.best)
    for number, (points, rows) in enumerate(((1.0, 4000), (2.0, 2000), (5.0, 1000))):
        candidate = worse(world, world.best, points, number)
        yield plant(f"worse by {points:g}", rows=rows, candidate=candidate, recent_only=True)
    for kind, change in (
        ("NaN weights", partial(_set, value=float("nan"))),
        ("infinite weights", partial(_set, value=float("inf"))),
        ("swapped labels", _swap),
        ("one answer for all", _constant),
        ("a head of another shape", _narrow),
    ):
        yield plant(kind, rows=1000, candidate=_changed(world, change))
    # From here on the candidate is better than the champion: only what is wrong with it can stop it.
    champion = worse(world, world.best, 5.0, 9)
    plant = partial(Plant, good=False, rows=1000, candidate=world.best, champion=champion)
    for kind, spoil in _spoilt(world, champion).items():
        yield plant(kind, spoil=spoil)
    if world.encoder is None:
        yield plant("forgets", candidate=world.learnt(None, ("recent",)), champion=world.before)


def _spoilt(world: World, other: Model) -> dict[str, Spoil]:
    """Return what is done to the files of a sound candidate."""
    kinds: dict[str, Spoil] = {
        "truncated graph": partial(_cut, name="model.fp32.onnx"),
        "truncated weights": partial(_cut, name=NETWORK),
        "tampered graph": partial(_flip, name="model.fp32.onnx"),
        "tampered weights": partial(_flip, name=NETWORK),
        "missing file": partial(_remove, name="golden.json"),
        "foreign file": _add,
        "another model's graph": partial(_foreign_graph, other=other),
        "swapped label map": _swap_map,
    }
    if world.encoder is not None:
        return {**kinds, "stale tokenizer": stale_tokenizer}
    return {**kinds, "features in another order": _reorder}


def _changed(world: World, change: Callable[[Model], None]) -> Model:
    candidate = world.model(world.best.network.clone())
    with torch.no_grad():
        change(candidate)
    return candidate


def _last(model: Model) -> nn.Linear:
    layer = model.network.layers[-1]
    if not isinstance(layer, nn.Linear):
        raise TypeError("the last layer is not linear")
    return layer


def _set(model: Model, value: float) -> None:
    _last(model).weight[0, 3] = value


def _swap(model: Model) -> None:
    """Let the first two answers stand for each other."""
    first, second, *others = model.network.labels
    model.network.labels = (second, first, *others)


def _constant(model: Model) -> None:
    _last(model).bias[0] = 1e4


def _narrow(model: Model) -> None:
    """Give the head an answer less than there are labels."""
    before = _last(model)
    after = nn.Linear(before.in_features, before.out_features - 1)
    after.weight.copy_(before.weight[:-1])
    after.bias.copy_(before.bias[:-1])
    model.network.layers[-1] = after
    model.network.sizes = (*model.network.sizes[:-1], after.out_features)


def _cut(folder: Path, manifest: Manifest, name: str) -> Manifest:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) * 2 // 3])
    return manifest


def _flip(folder: Path, manifest: Manifest, name: str) -> Manifest:
    """Change one bit of a weight, near the end of the file."""
    content = bytearray((folder / name).read_bytes())
    content[-len(content) // 50] ^= 1
    (folder / name).write_bytes(content)
    return manifest


def _remove(folder: Path, manifest: Manifest, name: str) -> Manifest:
    (folder / name).unlink()
    return manifest


def _add(folder: Path, manifest: Manifest) -> Manifest:
    (folder / "training" / "notes.txt").write_text("not of this training", encoding="utf-8")
    return manifest


def _foreign_graph(folder: Path, manifest: Manifest, other: Model) -> Manifest:
    """Put another model's graphs in place, with their right digests: only their answers tell."""
    export.write(folder, other.network, other.encoder)
    return _again(folder, manifest, *manifest.variants.values())


def _swap_map(_folder: Path, manifest: Manifest) -> Manifest:
    """Name the labels in another order than the weights have them."""
    first, second, *others = manifest.labels
    return msgspec.structs.replace(manifest, labels=(second, first, *others))


def _reorder(_folder: Path, manifest: Manifest) -> Manifest:
    return msgspec.structs.replace(manifest, features=tuple(reversed(manifest.features)))


def stale_tokenizer(folder: Path, manifest: Manifest) -> Manifest:
    """Put a tokenizer in place that has the numbers of some words exchanged, with its right digest."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    for one, other in (("select", "lamp"), ("union", "desk"), ("script", "search"), ("alert", "item")):
        words[one], words[other] = words[other], words[one]
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    return _again(folder, manifest, path.name)


def _again(folder: Path, manifest: Manifest, *names: str) -> Manifest:
    """Return the manifest with the digests that some files have now."""
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    return msgspec.structs.replace(manifest, files={**manifest.files, **digests})
