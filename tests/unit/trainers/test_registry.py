"""The registry with a real MLflow on SQLite: what a run and a version carry, and what a kill leaves."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.runtime.durable import write
from schemas.config import Stream
from schemas.release import Release, State
from tests.unit.trainers import samples
from trainers.bootstrap import train_first
from trainers.dataset import from_memory
from trainers.outcome import Job, Outcome
from trainers.pipeline import train
from trainers.quiet import quietly
from trainers.registry import Registrar, catch_up, open_registry, pending, tracking_uri, unpointed
from trainers.succession import succeeding
from trainers.tracking import Registry

STREAM = Stream.model_validate(
    {"kind": "sensor", "model": {"learn": {"epochs": 12}}, "gate": {"max_forgetting": 0.02, "p99_ms": 500}}
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Outcome]]:
    """A data folder with three finished runs: a first release, an increment, a rejected candidate."""
    home = tmp_path_factory.mktemp("home")
    old = samples.readings(1, 300)
    first = train_first(home, "host", STREAM, old)
    recent = samples.readings(2, 300, shift=1.2, after_s=5000)
    outcomes = [_run(home, first, "drift-1", from_memory(recent, old))]
    outcomes.append(_run(home, outcomes[0].release, "drift-2", from_memory(recent, old)))
    assert [outcome.released for outcome in outcomes] == [True, False]
    with quietly(), pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        open_registry(home)  # its tables take seconds to make: once
    return home, outcomes


def _run(home: Path, champion: Release, alert: str, data: Any) -> Outcome:
    run = home / "trainer" / "runs" / f"host-{alert}"
    run.mkdir(parents=True)
    job = Job(
        home=str(home), stream="host", config=STREAM.model_dump_json(), run=str(run), champion=champion,
        alert=alert,
    )  # fmt: skip
    write(run / "job.json", job)
    outcome = train(job, data)
    write(run / "outcome.json", outcome)
    return outcome


@pytest.fixture
def home(trained: tuple[Path, list[Outcome]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Those runs in a data folder of this test's own, whose MLflow is empty."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(trained[0] / "trainer" / "runs", tmp_path / "trainer" / "runs")
    shutil.copy(trained[0] / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def client(home: Path) -> Iterator[Any]:
    """MLflow's own client, to look from outside."""
    with quietly():
        import mlflow

        yield mlflow.MlflowClient(tracking_uri(home), registry_uri=tracking_uri(home))


def test_a_run_carries_settings_curves_figures_and_card(
    home: Path, client: Any, trained: tuple[Path, list[Outcome]]
) -> None:
    """Loss, gradient norm and rate by step, losses by epoch, metrics, tags, and the card as a file."""
    with quietly():
        assert catch_up(home, open_registry(home)) == {}
        runs = client.search_runs([client.get_experiment_by_name("headrace/host").experiment_id])
    assert pending(home) == []
    increment = next(run for run in runs if run.data.tags["headrace.alert"] == "drift-1")
    release = trained[1][0].release
    assert release.training is not None
    wanted = {
        "headrace.stream": "host", "headrace.parent": "1", "headrace.sha256": release.sha256,
        "headrace.state": "released", "headrace.rows_sha256": release.training.dataset_sha256,
        "headrace.event_from": release.training.event_from.isoformat(),
    }  # fmt: skip
    assert wanted.items() <= increment.data.tags.items()
    assert increment.data.params["seed"] == "7"
    assert increment.data.params["gate.max_forgetting"] == "0.02"
    assert increment.data.metrics["accuracy"] == pytest.approx(trained[1][0].metrics["accuracy"])
    curves = {
        name: client.get_metric_history(increment.info.run_id, f"head/{name}")
        for name in ("loss", "gradient_norm", "learning_rate", "validation_loss")
    }
    assert len(curves["validation_loss"]) == len(trained[1][0].loss)
    assert len({len(curves[name]) for name in ("loss", "gradient_norm", "learning_rate")}) == 1
    steps = [point.step for point in curves["loss"]]
    assert steps == list(range(len(steps)))
    assert all(point.value > 0 for name in curves for point in curves[name])
    assert {point.value for point in curves["learning_rate"]} == {0.002}
    with quietly():
        text = Path(client.download_artifacts(increment.info.run_id, "model_card.md")).read_text()
    assert increment.info.artifact_uri.startswith((home / "mlflow").as_uri())
    assert text.startswith("# host, version 2")


def test_versions_have_aliases_that_follow_what_serves(
    home: Path, client: Any, trained: tuple[Path, list[Outcome]]
) -> None:
    """`champion` and `previous` are what the topic says, `rejected` the newest such; after a rollback too."""
    first, second = _first(trained[0]), trained[1][0].release
    registrar = Registrar(home)
    registrar.serving({"host": succeeding(second, first)})
    with quietly():
        registry = open_registry(home)
        catch_up(home, registry)
        assert registry.aliased("host") == {"champion": 2, "previous": 1, "rejected": 3}
        assert unpointed(home) == {}
        registrar.serving({"host": first})
        assert set(unpointed(home)) == {"host"}
        catch_up(home, registry)
        assert registry.aliased("host") == {"champion": 1, "rejected": 3}
        states = {v.tags["headrace.version"]: v for v in client.search_model_versions("name = 'host'")}
    assert {number: v.tags["headrace.state"] for number, v in states.items()} == {
        "1": "released", "2": "released", "3": "rejected",
    }  # fmt: skip
    assert "not significant" in states["3"].description


class _Killed(BaseException):
    """What a SIGKILL is to the code it hits: nothing catches it."""


class _Dying:
    """MLflow's client, which dies before its `last`th call; everything before has been done."""

    def __init__(self, client: Any, last: int) -> None:
        self._client = client
        self.left = last

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise _Killed
            return getattr(self._client, name)(*arguments, **named)

        return call


def test_a_registration_that_is_killed_anywhere_is_finished_by_the_next(home: Path, client: Any) -> None:
    """Killed before its first call, its second, and so on: in the end each run and version is there once."""
    with quietly():
        open_registry(home)
        calls, finished = 0, False
        while not finished:
            dying = _Dying(client, calls)
            try:
                catch_up(home, Registry(dying, (home / "mlflow").as_uri()))
            except _Killed:
                calls += 1
            else:
                finished = True
        experiment = client.get_experiment_by_name("headrace/host").experiment_id
        runs = client.search_runs([experiment])
        versions = client.search_model_versions("name = 'host'")
        points = [len(client.get_metric_history(run.info.run_id, "accuracy")) for run in runs]
    assert calls > 8
    assert sorted(run.data.tags["headrace.run"] for run in runs) == [
        "host-drift-1", "host-drift-2", "host-first",
    ]  # fmt: skip
    assert sorted(v.tags["headrace.version"] for v in versions) == ["1", "2", "3"]
    assert points == [1, 1, 1]
    assert all(run.info.status == "FINISHED" for run in runs)


def test_a_run_that_cannot_be_registered_holds_up_no_other(home: Path) -> None:
    """A damaged record is named and stays pending; the others are registered."""
    broken = home / "trainer" / "runs" / "host-first" / "outcome.json"
    broken.write_bytes(broken.read_bytes()[:50])
    with quietly():
        failed = catch_up(home, open_registry(home))
    assert set(failed) == {"host-first"}
    assert [run.name for run in pending(home)] == ["host-first"]


def test_the_card_tells_what_a_reader_asks(trained: tuple[Path, list[Outcome]]) -> None:
    """Rows and offsets, classes and sources, verdict with reasons, parent, alert, seed, software, limits."""
    home, outcomes = trained
    folder = home / "releases" / "host" / "2"
    card = json.loads((folder / "model_card.json").read_bytes())
    assert (card["parent"], card["alert"], card["released"]) == (1, "drift-1", True)
    assert {part["name"] for part in card["parts"] if part["by"] == "class"} == {"busy", "idle"}
    held_out = sum(part["held_out"] for part in card["parts"] if part["by"] == "source")
    assert held_out == card["held_out_rows"]
    assert card["learn"]["seed"] == 7
    assert {"python", "torch", "onnxruntime"} < set(card["software"])
    text = (folder / "model_card.md").read_text()
    for said in (
        "released: accuracy",
        "version 1, accuracy",
        "drift-1",
        "events.raw:0, offsets",
        "| seed | 7 |",
    ):
        assert said in text
    rejected = json.loads((home / "trainer" / "runs" / "host-drift-2" / "model_card.json").read_bytes())
    assert not rejected["released"]
    assert rejected["reasons"] == list(outcomes[1].reasons)


def _first(home: Path) -> Release:
    outcome = (home / "trainer" / "runs" / "host-first" / "outcome.json").read_bytes()
    release = msgspec.json.decode(outcome, type=Outcome).release
    assert release.state is State.RELEASED
    return release
