"""Concepts that come back: the model of the first one is found, announced again, and only where it fits."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from schemas.config import Stream
from schemas.release import Release, State
from tests.unit.trainers import samples
from trainers import folders
from trainers.dataset import from_memory
from trainers.outcome import Job, Outcome
from trainers.pipeline import train
from trainers.succession import check_still_wanted, rolled_back, succeeding

DAY_S = 86_400


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Leave the other core to the other tests."""
    torch.set_num_threads(1)


class World:
    """A stream whose trainings follow one another; `serving` is what serves."""

    def __init__(self, home: Path, kind: str, **learn: Any) -> None:
        section = {"learn": {"epochs": 60, **learn}}
        self.home = home
        self.stream = Stream.model_validate({"kind": kind, "model": section, "gate": {"p99_ms": 1000}})
        self.serving: Release | None = None

    def learns(self, rows: list[samples.Labelled], old: list[samples.Labelled] | None = None) -> Outcome:
        """Answer a drift; what is released serves from now on."""
        run = self.home / "run"
        run.mkdir(exist_ok=True)
        config = self.stream.model_dump_json()
        job = Job(
            home=str(self.home), stream="s", config=config, run=str(run), alert="a", champion=self.serving
        )
        outcome = train(job, from_memory(rows, old or []))
        if outcome.released:
            check_still_wanted(outcome.release, self.serving, outcome.replaces)
            self.serving = succeeding(outcome.release, self.serving)
        return outcome


def readings(seed: int, day: int, *, turned: bool = False, shift: float = 0.0) -> list[samples.Labelled]:
    """Return readings of a day; turned, each state has the other's name."""
    rows = samples.readings(seed, 300, shift=shift, after_s=day * DAY_S)
    other = {"busy": "idle", "idle": "busy"}
    return [(event, other[label] if turned else label) for event, label in rows]


def requests(seed: int, day: int, *, turned: bool = False) -> list[samples.Labelled]:
    """Return requests of a day; turned, attacks and normal ones have each other's name."""
    other = {"normal": "sqli", "sqli": "normal"}
    rows = samples.requests(seed, day * DAY_S, normal=120, sqli=120)
    return [(event, other[label] if turned else label) for event, label in rows]


@pytest.mark.parametrize("kind", ["sensor", "api"])
def test_the_model_of_a_concept_that_is_there_again_is_brought_back(kind: str, tmp_path: Path) -> None:
    """A, its opposite, A: the first release is announced again, and nothing is trained or written."""
    day = readings if kind == "sensor" else requests
    world = World(tmp_path, kind)
    for number, turned in enumerate((False, True)):
        assert world.learns(day(number, number, turned=turned)).released
    first, _ = folders.read_manifest(tmp_path / "releases", "s", 1)
    outcome = world.learns(day(2, 2))
    release = outcome.release
    assert (release.version, release.state, outcome.replaces) == (1, State.RELEASED, 2)
    assert release.sha256 == folders.record(tmp_path / "releases", "s", 1).sha256
    assert (release.alert, release.training) == ("a", first.training)
    assert release.reasons[0].startswith("brought back: the concept of version 1 (")
    assert outcome.metrics["gain"] > 0.8
    assert "training" not in outcome.seconds
    assert folders.versions(tmp_path / "releases", "s") == [1, 2]
    folders.verify(tmp_path / "releases", "s", 1)

    assert world.serving is not None
    assert world.serving.served_before == (2,)
    back, left = rolled_back(tmp_path / "releases", world.serving, None, "worse")
    assert (back.version, left.version, left.state) == (2, 1, State.ROLLED_BACK)


def test_the_second_concept_may_come_back_too(tmp_path: Path) -> None:
    """A, B, A, B: two trainings in all."""
    world = World(tmp_path, "sensor")
    versions = [world.learns(readings(n, n, turned=bool(n % 2))).release.version for n in range(4)]
    assert versions == [1, 2, 1, 2]


def test_a_concept_that_is_new_is_trained(tmp_path: Path) -> None:
    """A, B, C: the first version is asked and fits no better."""
    world = World(tmp_path, "sensor")
    world.learns(readings(1, 0))
    world.learns(readings(2, 1, turned=True))
    outcome = world.learns([(event, f"{label}-{number % 2}") for number, (event, label) in enumerate(
        readings(3, 2, shift=1.2)
    )])  # fmt: skip
    assert outcome.replaces is None
    assert outcome.release.version == 3
    assert outcome.seconds["recalling"] < 5


def test_without_recall_it_is_trained(tmp_path: Path) -> None:
    """`recall = false` makes a third version of what the first one knew."""
    world = World(tmp_path, "sensor", recall=False)
    versions = [world.learns(readings(n, n, turned=n == 1)).release.version for n in range(3)]
    assert versions == [1, 2, 3]


def test_a_version_that_forgets_what_came_since_stays_where_it_is(tmp_path: Path) -> None:
    """It fits again, but not where else the stream has been: those rows contradict nothing, and are asked."""
    world = World(tmp_path, "sensor")
    world.learns(readings(1, 0))
    elsewhere = readings(2, 1, shift=3.0, turned=True)
    world.learns([*readings(3, 1, turned=True), *elsewhere])
    assert world.serving is not None and world.serving.version == 2
    outcome = world.learns(readings(4, 2), elsewhere)
    assert outcome.replaces is None
    assert outcome.release.version == 3


def test_a_version_that_was_replaced_is_no_forgetting(tmp_path: Path) -> None:
    """Rows of the concept between say the opposite of recent ones in the same place: they are not asked."""
    world = World(tmp_path, "sensor")
    between = readings(2, 1, turned=True)
    world.learns(readings(1, 0))
    world.learns(between)
    assert world.learns(readings(3, 2), between).replaces == 2


def test_a_version_that_people_left_is_not_brought_back(tmp_path: Path) -> None:
    """What was rolled back is in no list of what served before."""
    world = World(tmp_path, "sensor")
    world.learns(readings(1, 0))
    world.learns(readings(2, 1, turned=True))
    assert world.serving is not None
    world.serving, _ = rolled_back(tmp_path / "releases", world.serving, None, "no good")
    outcome = world.learns(readings(3, 2, turned=True))
    assert (outcome.replaces, outcome.release.version) == (None, 3)


def test_rows_that_a_version_learnt_from_prove_nothing(tmp_path: Path) -> None:
    """A version that learnt from rows since the drift is not asked about them."""
    world = World(tmp_path, "sensor")
    world.learns(readings(1, 0))
    world.learns(readings(2, 1, turned=True))
    assert world.learns(readings(1, 0)).replaces is None


def test_a_broken_folder_is_not_brought_back(tmp_path: Path) -> None:
    """A graph that was changed since its release is found by the examination; another model is trained."""
    world = World(tmp_path, "sensor")
    world.learns(readings(1, 0))
    world.learns(readings(2, 1, turned=True))
    graph = tmp_path / "releases" / "s" / "1" / "model.fp32.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    outcome = world.learns(readings(3, 2))
    assert (outcome.replaces, outcome.release.version) == (None, 3)


def test_an_outcome_of_before_is_read(tmp_path: Path) -> None:
    """Run folders of an older version name nothing that was replaced."""
    world = World(tmp_path, "sensor")
    told = msgspec.to_builtins(world.learns(readings(1, 0)))
    del told["replaces"]
    assert msgspec.convert(told, Outcome).replaces is None
    assert np.isfinite(list(told["metrics"].values())).all()
