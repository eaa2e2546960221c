"""Trains a release again from its own record: consumes its folder, produces both metrics side by side.

    release folder -> job, rows, parent -> the same training in a scratch folder -> metrics compared

Nothing but the parent's weights and the base model is shared with the first training: graphs and text vectors
are made anew. What is measured in time, and probabilities of tests, are shown but not compared.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from infra.runtime.durable import write
from schemas.errors import Fatal
from trainers import folders, golden
from trainers.child import Child, TrainerDied
from trainers.folders import CARD, GOLDEN_ROWS, JOB, ROWS
from trainers.outcome import Job, Outcome

TOLERANCE: Final = 0.001
"""A tenth of a percentage point."""

_UNCOMPARED: Final = ("_ms", "_p", "parity")
_PATIENCE: Final = 10
"""How many times the budget of seconds a training may take here: another machine may be slower."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of the release and of its reproduction; `same` is None where it is not compared."""

    name: str
    released: float | None
    reproduced: float | None
    same: bool | None


class Reproduction(msgspec.Struct, frozen=True, kw_only=True):
    """What training a release again gave. `differs` names software that is another one than then."""

    model: str
    version: int
    same: bool
    figures: tuple[Figure, ...]
    rows_sha256: str
    differs: dict[str, tuple[str, str]]
    seconds: dict[str, float]
    note: str = ""


async def reproduce(releases: Path, model: str, version: int, scratch: Path) -> Reproduction:
    """Train a release again in `scratch` and compare; nothing outside `scratch` is changed.

    Raises:
        Fatal: the folder is broken or has no record, its parent is gone, or the training failed.
    """
    folders.verify(releases, model, version)
    folder = releases / model / str(version)
    manifest, _ = folders.read_manifest(releases, model, version)
    job = _job(releases, folder, scratch)
    run = Path(job.run)
    run.mkdir(parents=True)
    write(run / "job.json", job)
    (run / "dataset.json").write_bytes(folders.unpacked(folder / ROWS))
    if job.champion is not None and (folder / GOLDEN_ROWS).is_file():  # the first training draws its own
        golden.path_of(scratch, job.model).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / GOLDEN_ROWS, golden.path_of(scratch, job.model))
    child = Child(scratch, job.threads)
    try:
        path = await child.train(run, _silent, _PATIENCE * job.learner.learn.budget_s)
    except TimeoutError as error:
        raise Fatal(f"training {model} {version} again took {_PATIENCE} times its budget") from error
    except TrainerDied as error:
        raise Fatal(f"{error}; is the machine short of memory?") from error
    finally:
        await child.close()
    outcome = msgspec.json.decode(path.read_bytes(), type=Outcome)
    rows = outcome.release.training.dataset_sha256 if outcome.release.training else ""
    figures = compare(manifest.metrics, outcome.metrics)
    same_rows = manifest.training is not None and rows == manifest.training.dataset_sha256
    return Reproduction(
        model=model,
        version=version,
        same=same_rows and all(figure.same is not False for figure in figures),
        figures=figures,
        rows_sha256=rows,
        differs=_software(folder, outcome, scratch, run),
        seconds=outcome.seconds,
        note="" if outcome.released else f"the gate rejects it here: {'; '.join(outcome.reasons)}",
    )


def compare(released: Mapping[str, float], reproduced: Mapping[str, float]) -> tuple[Figure, ...]:
    """Set metrics side by side; those that are compared must be within a tenth of a point."""
    figures = []
    for name in sorted(released.keys() | reproduced.keys()):
        before, after = released.get(name), reproduced.get(name)
        same: bool | None = None
        if not name.endswith(_UNCOMPARED):
            same = before is not None and after is not None and abs(before - after) <= TOLERANCE
        figures.append(Figure(name=name, released=before, reproduced=after, same=same))
    return tuple(figures)


def _job(releases: Path, folder: Path, scratch: Path) -> Job:
    """Return the recorded job, moved to the scratch folder, its parent where it lies today."""
    for name, why in ((JOB, "it is older than this record"), (ROWS, "its rows were too many to be kept")):
        if not (folder / name).is_file():
            raise Fatal(f"{folder} has no {name} ({why}), so it cannot be trained again")
    job = msgspec.json.decode((folder / JOB).read_bytes(), type=Job)
    parent = job.champion
    if parent is not None:
        if parent.version not in folders.versions(releases, parent.model):
            raise Fatal(f"it continues from version {parent.version}, whose folder is gone: not reproducible")
        folders.verify(releases, parent.model, parent.version)
        today = folders.record(releases, parent.model, parent.version)
        if today.sha256 != parent.sha256:
            raise Fatal(f"{parent.model} {parent.version} is not the release it was continued from")
        parent = today
    settings = job.settings
    if settings.model is None:
        raise Fatal(f"{folder / JOB} has no model section, so there is nothing to train")
    learn = settings.model.learn
    patient = learn.model_copy(update={"budget_s": _PATIENCE * learn.budget_s})
    model = settings.model.model_copy(update={"learn": patient})
    return msgspec.structs.replace(
        job,
        home=str(scratch),
        run=str(scratch / "trainer" / "runs" / "again"),
        champion=parent,
        config=settings.model_copy(update={"model": model}).model_dump_json(),
    )


def _software(folder: Path, outcome: Outcome, scratch: Path, run: Path) -> dict[str, tuple[str, str]]:
    """Return what is installed in another version than when the release was made, each as (then, now)."""
    made = folder / CARD
    here = (
        run
        if not outcome.released
        else scratch / "releases" / outcome.release.model / str(outcome.release.version)
    )
    then, now = (
        msgspec.json.decode((path / CARD).read_bytes())["software"] if (path / CARD).is_file() else {}
        for path in (made.parent, here)
    )
    return {name: (then[name], now.get(name, "")) for name in then if then[name] != now.get(name)}


async def _silent(_step: str) -> None:
    """Nobody follows the steps of a reproduction."""
