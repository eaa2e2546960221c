"""A stream whose model answers numbers: first version, increment, what does not pass, what serving finds."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from schemas.config import Stream
from schemas.errors import Fatal
from schemas.release import Manifest, Release, State, Task
from serving.slot import Limits, load
from tests.unit.trainers import samples
from trainers import folders, golden
from trainers.bootstrap import train_first
from trainers.dataset import Dataset, rows_of, split, targets
from trainers.evaluate import right
from trainers.explain.answer import explain
from trainers.model import folder_of, open_model
from trainers.outcome import Job
from trainers.outdated import still_true
from trainers.pipeline import train
from trainers.row import Row

HOST = Stream.model_validate(
    {"kind": "sensor", "model": {"task": "regression"}, "gate": {"p99_ms": 500, "golden_rows": 60}}
)
OLD = samples.heating(1, 900)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Leave the other core to the other tests."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder for the module."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def first(home: Path) -> Release:
    """Version 1: knows the machine as it was."""
    noise = [(event, "about 30") for event, _ in samples.heating(9, 20)]
    return train_first(home, "host", HOST, [*OLD, *noise])


def _manifest(home: Path, version: int) -> Manifest:
    return folders.read_manifest(home / "releases", "host", version)[0]


def _data(recent: list[samples.Labelled], old: list[samples.Labelled]) -> Dataset:
    return split(rows_of(recent, Task.REGRESSION), rows_of(old, Task.REGRESSION))


def _job(home: Path, champion: Release, config: Stream = HOST) -> Job:
    run = home / "run"
    run.mkdir(exist_ok=True)
    return Job(
        home=str(home), stream="host", config=config.model_dump_json(), run=str(run), champion=champion,
        alert="alert-1",
    )  # fmt: skip


def test_the_first_version_answers_within_the_noise(home: Path, first: Release) -> None:
    """Nine of ten answers are right by the tolerance it took; labels that say no number are no rows."""
    manifest = _manifest(home, 1)
    assert (manifest.task, manifest.labels, manifest.features) == (Task.REGRESSION, (), ("fan_rpm", "load"))
    assert 0.6 < manifest.thresholds["tolerance"] < 2.0
    assert manifest.metrics["accuracy"] > 0.75
    assert manifest.metrics["mae"] < 0.8 and manifest.metrics["r2"] > 0.99
    assert first.training is not None and first.training.rows < 900
    kept = golden.load(home, "host")
    assert kept is not None and len(kept.rows) == 60 and np.isfinite(targets(kept.rows)).all()


def test_the_card_tells_numbers(home: Path, first: Release) -> None:
    """The card names the unit of truth, what drives high and low answers, and its sources."""
    card = json.loads((folder_of(first.uri) / "model_card.json").read_text())
    assert card["answers"][0].startswith("a number, right within")
    spoken = {one["label"]: one for one in card["explanations"]["classes"]}
    assert set(spoken) == {"high", "low"}
    assert spoken["high"]["speaks_for"][0]["name"] == "load"
    assert {part["by"] for part in card["parts"]} == {"source"}
    assert all(not bias["rates"] for bias in card["bias"])
    why = explain(folder_of(first.uri), home, values={"load": 0.9, "fan_rpm": 900.0})
    assert why.unit == "value" and float(why.answer) == pytest.approx(65, abs=2)
    assert sum(reason.share for reason in why.reasons) == pytest.approx(why.output - why.baseline, abs=0.05)
    with pytest.raises(Fatal, match="one number"):
        explain(folder_of(first.uri), home, values={"load": 0.9}, label="hot")


def test_serving_loads_it_and_answers_the_number(home: Path, first: Release) -> None:
    """The golden answers hold in serving; the answer has no label, its score is the number."""
    with ThreadPoolExecutor(1) as pool:
        served = load(first, pool, Limits(home / "releases"))
        (answer,) = served.predictor.predict([{"load": 0.5, "fan_rpm": 1200.0}])
    assert answer.label == "" and answer.score == pytest.approx(46, abs=2)
    assert served.predictor.tolerance == _manifest(home, 1).thresholds["tolerance"]


def test_an_increment_learns_the_wear_and_passes(home: Path, first: Release) -> None:
    """Where hot machines became hotter, version 2 follows, by the tolerance of version 1."""
    outcome = train(_job(home, first), _data(samples.heating(2, 600, wear=8, after_s=5000), OLD))
    assert outcome.released, outcome.reasons
    assert (outcome.release.version, outcome.release.parent) == (2, 1)
    assert outcome.metrics["champion_accuracy"] < 0.65 < outcome.metrics["accuracy"]
    assert outcome.metrics["mae"] < 0.3 * outcome.metrics["champion_mae"]
    assert outcome.metrics["bootstrap_p"] < 0.05
    assert _manifest(home, 2).thresholds == _manifest(home, 1).thresholds
    assert "mean loss lower by" in outcome.reasons[0]


def test_what_is_worse_is_rejected(home: Path, first: Release) -> None:
    """A model of one epoch from nothing is worse than the champion on recent rows, and not let through."""
    model = {"task": "regression", "learn": {"epochs": 1}}
    config = Stream.model_validate({"kind": "sensor", "model": model, "gate": {"p99_ms": 500}})
    job = msgspec.structs.replace(_job(home, first, config), fresh=True)
    outcome = train(job, _data(samples.heating(3, 600, after_s=6000), OLD))
    assert outcome.release.state is State.REJECTED
    assert any("mean loss changes by +" in reason for reason in outcome.reasons)


def test_what_forgets_is_rejected(home: Path, first: Release) -> None:
    """Who learns loaded machines alone, afresh, knows nothing of idle ones, and is told so."""
    rows = [pair for pair in samples.heating(3, 1500, wear=8, after_s=6000) if pair[0].values["load"] > 0.7]
    data = msgspec.structs.replace(_data(rows, OLD), old=[], old_validation=[])
    outcome = train(msgspec.structs.replace(_job(home, first), fresh=True), data)
    assert outcome.release.state is State.REJECTED
    assert any("forgets" in reason and "old rows" in reason for reason in outcome.reasons)


def test_a_tolerance_of_ones_own_rules(home: Path, first: Release) -> None:
    """Whoever knows what is near enough says so, and both models are judged by it."""
    model = {"task": "regression", "tolerance": 5.0}
    config = Stream.model_validate({"kind": "sensor", "model": model, "gate": {"p99_ms": 500}})
    outcome = train(_job(home, first, config), _data(samples.heating(6, 600, wear=8, after_s=8000), OLD))
    assert outcome.metrics["tolerance"] == 5.0
    assert outcome.metrics["accuracy"] > 0.97


def test_only_old_rows_that_recent_ones_contradict_are_outdated(home: Path, first: Release) -> None:
    """The wear contradicts what loaded machines said before, and little that idle ones did."""
    champion, _ = open_model(folder_of(first.uri), home, 1)
    old = rows_of(samples.heating(8, 1500), Task.REGRESSION)
    recent = rows_of(samples.heating(7, 900, wear=8, after_s=5000), Task.REGRESSION)
    elsewhere = [row for row in recent if row.values["load"] > 0.5]
    data = Dataset(recent=recent, recent_held_out=[], old_held_out=old)
    kept = still_true(data, champion).old_held_out
    loaded, idle = _parted(kept)
    loaded_before, idle_before = _parted(old)
    assert len(loaded) < 0.1 * len(loaded_before)
    assert len(idle) > 0.85 * len(idle_before)
    assert right(champion, idle).mean() > 0.75
    unasked = msgspec.structs.replace(data, recent=elsewhere)
    assert len(_parted(still_true(unasked, champion).old_held_out)[1]) == len(idle_before), (
        "nothing came there"
    )


def _parted(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows of a machine under load, where the wear shows, and of an idle one."""
    return [r for r in rows if r.values["load"] > 0.3], [r for r in rows if r.values["load"] < 0.05]


def test_a_stream_without_readings_has_nothing_to_learn_numbers_from(tmp_path: Path) -> None:
    """Texts are for classifiers, and the message says what is missing."""
    rows = [(event, str(number)) for number, (event, _) in enumerate(samples.requests(1, normal=80))]
    with pytest.raises(Fatal, match="no values to learn from"):
        train_first(tmp_path, "requests", HOST, rows)
