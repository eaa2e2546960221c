"""Training a release again from its own record, in a process of its own as the first time."""

import shutil
from pathlib import Path

import pytest

from schemas.config import Stream
from schemas.errors import Fatal
from tests.unit.trainers import samples
from tests.unit.trainers.folders_on_disk import lay_out
from trainers import folders
from trainers.bootstrap import train_first
from trainers.dataset import from_memory
from trainers.outcome import Job
from trainers.pipeline import train
from trainers.reproduce import compare, reproduce

STREAM = Stream.model_validate(
    {"kind": "sensor", "model": {"learn": {"epochs": 8}}, "gate": {"max_forgetting": 0.05, "p99_ms": 500}}
)


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A first release of a sensor model and an increment of it."""
    home = tmp_path_factory.mktemp("home")
    old = samples.readings(1, 300)
    first = train_first(home, "host", STREAM, old)
    recent = samples.readings(2, 300, shift=1.2, after_s=5000)
    run = home / "trainer" / "runs" / "host-drift-1"
    run.mkdir()
    job = Job(
        home=str(home), stream="host", config=STREAM.model_dump_json(), run=str(run), champion=first,
        alert="drift-1",
    )  # fmt: skip
    assert train(job, from_memory(recent, old)).released
    return home / "releases"


async def test_an_increment_is_trained_again_to_the_same_figures(releases: Path, tmp_path: Path) -> None:
    """From rows, seed and parent of its record, in a folder of its own; the release is left as it was."""
    found = await reproduce(releases, "host", 2, tmp_path / "again")
    assert found.same, found.figures
    manifest, _ = folders.read_manifest(releases, "host", 2)
    assert manifest.training is not None
    assert found.rows_sha256 == manifest.training.dataset_sha256
    figures = {figure.name: figure for figure in found.figures}
    assert figures["accuracy"].released == manifest.metrics["accuracy"]
    assert figures["champion_accuracy"].same
    assert figures["p99_ms"].same is None
    assert found.differs == {}
    assert folders.versions(releases, "host") == [1, 2]


@pytest.mark.parametrize("turned", [15.0, 1000.0], ids=["a few of the golden rows", "all of them"])
async def test_what_contradicted_golden_rows_is_trained_again(tmp_path: Path, turned: float) -> None:
    """The record has the golden rows as they were when the training began, whatever became of them in it."""
    home = tmp_path / "home"
    old = samples.readings(1, 400)
    first = train_first(home, "host", STREAM, old)
    renamed = {"busy": "idle", "idle": "busy"}
    recent = [
        (event, renamed[label] if event.values["cpu"] < turned else label)
        for event, label in samples.readings(2, 2500, after_s=1000)
    ]
    run = home / "trainer" / "runs" / "host-drift-1"
    run.mkdir()
    job = Job(
        home=str(home), stream="host", config=STREAM.model_dump_json(), run=str(run), champion=first
    )  # fmt: skip
    outcome = train(job, from_memory(recent, old[:100]))
    assert outcome.released, outcome.reasons
    found = await reproduce(home / "releases", "host", 2, tmp_path / "again")
    assert found.same, found.figures


async def test_what_cannot_be_trained_again_says_why(releases: Path, tmp_path: Path) -> None:
    """A parent that was pruned, a folder of an older version, a folder that was changed."""
    orphan = tmp_path / "orphan"
    shutil.copytree(releases / "host" / "2", orphan / "host" / "2")
    with pytest.raises(Fatal, match="continues from version 1, whose folder is gone"):
        await reproduce(orphan, "host", 2, tmp_path / "a")
    lay_out(orphan, 1)
    with pytest.raises(Fatal, match=r"no training/job\.json \(it is older than this record\)"):
        await reproduce(orphan, "requests", 1, tmp_path / "b")
    (orphan / "host" / "2" / "training" / "dataset.json.gz").write_bytes(b"")
    with pytest.raises(Fatal, match=r"dataset\.json\.gz is not the file"):
        await reproduce(orphan, "host", 2, tmp_path / "c")


def test_a_tenth_of_a_point_is_the_same_and_more_is_not() -> None:
    """Times and probabilities are shown only; a metric that one side lacks differs."""
    released = {"accuracy": 0.9, "f1_macro": 0.5, "p99_ms": 3.0, "mcnemar_p": 0.01, "gain": 0.1}
    again = {"accuracy": 0.9009, "f1_macro": 0.498, "p99_ms": 30.0, "mcnemar_p": 0.04}
    assert {figure.name: figure.same for figure in compare(released, again)} == {
        "accuracy": True, "f1_macro": False, "p99_ms": None, "mcnemar_p": None, "gain": False,
    }  # fmt: skip
