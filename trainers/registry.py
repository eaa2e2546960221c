"""The registry that people read: consumes finished runs, produces MLflow runs, model versions and aliases.

MLflow lies on SQLite under the data folder, or wherever `MLFLOW_TRACKING_URI` says. Importing it takes
seconds and 200 MB, so it happens in a short process of its own, after the release was announced: no swap
waits for it, and its failure is logged and tried again with the next run.

    python -m trainers.registry HOME      registers what is not registered yet
"""

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from infra.runtime.log import configure, get_logger
from trainers.outcome import Job, Outcome

_log = get_logger(__name__)

_MARK = "mlflow.json"
_LIMIT_S = 180.0


class Registrar:
    """Starts the registering process when there is something to register; a task of the worker."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._awake = asyncio.Event()
        self._awake.set()  # what an earlier worker left undone

    def wake(self) -> None:
        """Say that a run has finished."""
        self._awake.set()

    async def run(self) -> None:
        """Go on for ever, one process at a time."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            if pending(self._home):
                await self._register()

    async def _register(self) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "trainers.registry", str(self._home)
        )
        try:
            async with asyncio.timeout(_LIMIT_S):
                status = await process.wait()
            if status:
                _log.warning("registry.failed", status=status)
        except TimeoutError:
            _log.warning("registry.failed", reason=f"no end after {_LIMIT_S:g} s")
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):  # it ended in this moment
                    process.kill()
                await process.wait()


def pending(home: Path) -> list[Path]:
    """Return the folders of finished runs that are not registered, oldest first."""
    done = (home / "trainer" / "runs").glob("*/outcome.json")
    found = [path for path in done if not (path.parent / _MARK).exists()]
    return [path.parent for path in sorted(found, key=lambda path: path.stat().st_mtime)]


def tracking_uri(home: Path) -> str:
    """Return where MLflow keeps its runs."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}"


def register(home: Path, run: Path, client: Any) -> str:
    """Write one run to MLflow and return its run id; a released model also becomes a registered version."""
    job = msgspec.json.decode((run / "job.json").read_bytes(), type=Job)
    outcome = msgspec.json.decode((run / "outcome.json").read_bytes(), type=Outcome)
    record = client.create_run(
        _experiment(client, job.stream, home),
        tags=_tags(job, outcome),
        run_name=f"{job.model} {outcome.release.version}",
    )
    run_id = str(record.info.run_id)
    _log_figures(client, run_id, job, outcome)
    if outcome.released:
        _register_version(client, run_id, job, outcome)
    client.set_terminated(run_id, "FINISHED" if outcome.released else "FAILED")
    (run / _MARK).write_bytes(msgspec.json.encode({"run_id": run_id}))
    return run_id


def _experiment(client: Any, stream: str, home: Path) -> str:
    found = client.get_experiment_by_name(f"headrace/{stream}")
    if found is not None:
        return str(found.experiment_id)
    artifacts = None if os.environ.get("MLFLOW_TRACKING_URI") else (home / "mlflow").absolute().as_uri()
    return str(client.create_experiment(f"headrace/{stream}", artifact_location=artifacts))


def _tags(job: Job, outcome: Outcome) -> dict[str, str]:
    release = outcome.release
    training = msgspec.json.encode(release.training).decode() if release.training else ""
    return {
        "headrace.stream": job.stream,
        "headrace.version": str(release.version),
        "headrace.sha256": release.sha256,
        "headrace.alert": job.alert or "",
        "headrace.parent": "" if release.parent is None else str(release.parent),
        "headrace.state": release.state.value,
        "headrace.reasons": "; ".join(outcome.reasons),
        "headrace.training_range": training,
    }


def _log_figures(client: Any, run_id: str, job: Job, outcome: Outcome) -> None:
    model = job.settings.model
    if model is not None:
        learn = model.learn.model_dump()
        for name, value in {**learn, "task": model.task.value, "base": model.base or "default"}.items():
            client.log_param(run_id, name, value)
    for name, number in {
        **outcome.metrics,
        **{f"seconds_{k}": v for k, v in outcome.seconds.items()},
    }.items():
        client.log_metric(run_id, name, number)
    for name, curve in (("loss", outcome.loss), ("validation_loss", outcome.validation_loss)):
        for step, loss in enumerate(curve):
            client.log_metric(run_id, name, loss, step=step)
    for step in range(len(outcome.loss)):
        client.log_metric(run_id, "learning_rate", outcome.learning_rate, step=step)


def _register_version(client: Any, run_id: str, job: Job, outcome: Outcome) -> None:
    """Register the release and move the aliases: it is `champion`, what it replaced is `challenger`."""
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException):  # the model is registered already
        client.create_registered_model(job.model)
    version = client.create_model_version(job.model, outcome.release.uri, run_id, tags=_tags(job, outcome))
    before = None
    with contextlib.suppress(MlflowException):  # the first version replaces none
        before = client.get_model_version_by_alias(job.model, "champion")
    client.set_registered_model_alias(job.model, "champion", version.version)
    if before is not None:
        client.set_registered_model_alias(job.model, "challenger", before.version)


def main(arguments: list[str]) -> int:
    """Register every pending run."""
    os.nice(15)
    home = Path(arguments[0]).absolute()
    configure("trainer-registry")
    from trainers.quiet import quietly

    with quietly():
        import mlflow

        mlflow.set_tracking_uri(tracking_uri(home))
        client = mlflow.MlflowClient()
        done = {run.name: register(home, run, client) for run in pending(home)}
    for name, run_id in done.items():
        _log.info("run.registered", run=name, mlflow_run=run_id)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
