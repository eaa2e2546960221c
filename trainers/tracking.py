"""Writes to MLflow: consumes run folders and what serves, produces runs, model versions and aliases.

Everything here may be broken off at any moment and done again: a run is found by its name, a version by its
number, before another is made. So a registration that was killed leaves nothing twice.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.release import Release
from trainers.folders import CARD, CARD_TEXT, HISTORY
from trainers.history import History
from trainers.outcome import Job, Outcome

CHAMPION: Final = "champion"
PREVIOUS: Final = "previous"
REJECTED: Final = "rejected"

_BATCH: Final = 1000
"""Metrics that MLflow takes in one call."""


class Registry:
    """One MLflow, written to through its client. `artifacts` is where a local one keeps files."""

    def __init__(self, client: Any, artifacts: str | None) -> None:
        self._client = client
        self._artifacts = artifacts

    def register(self, run: Path) -> str:
        """Write a run folder as an MLflow run and a version of its model; return the run's id."""
        job = msgspec.json.decode((run / "job.json").read_bytes(), type=Job)
        outcome = msgspec.json.decode((run / "outcome.json").read_bytes(), type=Outcome)
        run_id = self._run(run, job, outcome)
        releases = Path(job.home) / "releases" / job.model
        # curves and card of a version that was brought back belong to the run that trained it
        trained = outcome.released and outcome.replaces is None
        folder = releases / str(outcome.release.version) if trained else run
        self._log(run_id, run, folder, job, outcome)
        version = self._version(run_id, job, outcome)
        if not outcome.released:
            self._client.set_registered_model_alias(job.model, REJECTED, version)
        self._client.set_terminated(run_id, "FINISHED")
        return run_id

    def point(self, serving: Release) -> bool:
        """Let `champion` and `previous` be what serves and served before it; tell whether both are known."""
        wanted = {CHAMPION: serving.version}
        if serving.served_before:
            wanted[PREVIOUS] = serving.served_before[-1]
        found = {alias: self._find(serving.model, version) for alias, version in wanted.items()}
        for alias, version in found.items():
            if version is not None:
                self._client.set_registered_model_alias(serving.model, alias, version)
        if PREVIOUS not in wanted and found[CHAMPION] is not None:
            self._client.delete_registered_model_alias(serving.model, PREVIOUS)
        return all(version is not None for version in found.values())

    def aliased(self, model: str) -> dict[str, int]:
        """Return the release that each alias of a model points to, those set by people included."""
        from mlflow.exceptions import MlflowException

        try:
            aliases = dict(self._client.get_registered_model(model).aliases)
        except MlflowException:
            return {}  # nothing of this model is registered
        found = {}
        for alias, version in aliases.items():
            number = self._client.get_model_version(model, version).tags.get("headrace.version", "")
            if number.isdigit():
                found[alias] = int(number)
        return found

    def pruned(self, model: str, version: int) -> None:
        """Say of a version that its folder is gone."""
        found = self._find(model, version)
        if found is not None:
            self._client.set_model_version_tag(model, found, "headrace.pruned", "true")

    def _run(self, run: Path, job: Job, outcome: Outcome) -> str:
        """Return the MLflow run of a run folder, made if there is none yet."""
        experiment = self._experiment(f"headrace/{job.stream}")
        mine = f"tags.`headrace.run` = '{run.name}'"
        for record in self._client.search_runs([experiment], mine, max_results=1):
            return str(record.info.run_id)
        record = self._client.create_run(
            experiment,
            tags={"headrace.run": run.name, **tags(job, outcome)},
            run_name=f"{job.model} {outcome.release.version}",
        )
        return str(record.info.run_id)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=self._artifacts))

    def _log(self, run_id: str, run: Path, folder: Path, job: Job, outcome: Outcome) -> None:
        """Write parameters, figures, curves and the model card."""
        from mlflow.entities import Metric, Param

        history = History()
        with contextlib.suppress(FileNotFoundError):  # a run of a version that kept none
            history = msgspec.json.decode((folder / HISTORY).read_bytes(), type=History)
        began_ms, ended_ms = (
            int((run / name).stat().st_mtime * 1000) for name in ("job.json", "outcome.json")
        )
        params = [Param(name, str(value)[:6000]) for name, value in parameters(job).items()]
        self._client.log_batch(run_id, params=params)
        figures = [Metric(name, value, ended_ms, 0) for name, value in final_figures(outcome)]
        curves = [
            Metric(name, value, began_ms + int(1000 * at_s), step)
            for name, value, step, at_s in curve_points(history)
        ]
        metrics = [*figures, *curves]
        for start in range(0, len(metrics), _BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + _BATCH])
        for name in (CARD, CARD_TEXT):
            if (folder / name).is_file():
                self._client.log_artifact(run_id, str(folder / name))

    def _version(self, run_id: str, job: Job, outcome: Outcome) -> str:
        """Return the registered version of a release or a rejected candidate, made if there is none yet."""
        from mlflow.exceptions import MlflowException

        with contextlib.suppress(MlflowException):  # the model is registered already
            self._client.create_registered_model(job.model)
        known = self._find(job.model, outcome.release.version)
        if known is not None:
            return known
        source = outcome.release.uri or f"runs:/{run_id}"
        made = self._client.create_model_version(
            job.model, source, run_id, tags=tags(job, outcome), description=_described(outcome)
        )
        return str(made.version)

    def _find(self, model: str, version: int) -> str | None:
        """Return MLflow's own number of a version: candidates before the first registration have none."""
        ours = f"name = '{model}' and tags.`headrace.version` = '{version}'"
        for found in self._client.search_model_versions(ours):
            return str(found.version)
        return None


def tags(job: Job, outcome: Outcome) -> dict[str, str]:
    """Return what is searched for: stream, alert, parent, data ranges, sha256, the gate's verdict."""
    release = outcome.release
    found = {
        "headrace.stream": job.stream,
        "headrace.version": str(release.version),
        "headrace.sha256": release.sha256,
        "headrace.alert": job.alert or "",
        "headrace.parent": "" if release.parent is None else str(release.parent),
        "headrace.state": release.state.value,
        "headrace.reasons": "; ".join(outcome.reasons)[:4000],
    }
    if (span := release.training) is not None:
        offsets = msgspec.json.encode(span.offsets).decode()
        found |= {
            "headrace.rows": str(span.rows),
            "headrace.rows_sha256": span.dataset_sha256,
            "headrace.event_from": span.event_from.isoformat(),
            "headrace.event_to": span.event_to.isoformat(),
            "headrace.offsets": offsets[:4000],
        }
    return found


def parameters(job: Job) -> dict[str, Any]:
    """Return the settings of a training, those of its gate with the gate's name before them."""
    model = job.learner
    gate = {f"gate.{name}": value for name, value in job.settings.gate.model_dump(mode="json").items()}
    return {
        **model.learn.model_dump(mode="json"),
        "task": model.task.value,
        "base": model.base or "default",
        "precision": model.precision,
        "fresh": job.fresh or job.champion is None,
        "threads": job.threads,
        **gate,
    }


def final_figures(outcome: Outcome) -> Iterator[tuple[str, float]]:
    """Return what a candidate showed, and how long each step of its making took."""
    yield from outcome.metrics.items()
    for step, seconds in outcome.seconds.items():
        yield f"seconds_{step}", seconds


def curve_points(history: History) -> Iterator[tuple[str, float, int, float]]:
    """Return name, value, number and second of every point, steps and epochs.

    The phase is before the name, for text models may have two.
    """
    for step in history.steps:
        for name in ("loss", "gradient_norm", "learning_rate"):
            value = getattr(step, name)
            if value is not None:
                yield f"{step.phase}/{name}", value, step.step, step.at_s
    for epoch in history.epochs:
        for name, value in (("epoch_loss", epoch.loss), ("validation_loss", epoch.validation_loss)):
            if value is not None:
                yield f"{epoch.phase}/{name}", value, epoch.epoch, epoch.at_s


def _described(outcome: Outcome) -> str:
    verdict = "released" if outcome.released else "rejected"
    return f"{verdict}: {'; '.join(outcome.reasons)}"[:4000]
