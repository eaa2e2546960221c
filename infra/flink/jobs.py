"""The jobs by their names, and what runs of them: ``HOME/flink/jobs.json``, written by the commands."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from infra.flink.errors import FlinkError
from infra.flink.package import module_path, root
from infra.local.home import write_json

PROBE: Final = "probe"
"""The job that reads no topic, and so takes none of their options."""

MODULES: Final[Mapping[str, str]] = {
    "clean": "streams.jobs.clean",
    "windows": "streams.jobs.windows",
    "backfill": "streams.jobs.backfill",
    PROBE: "infra.flink.probe",
}
"""What can be run, by name."""


class Run(msgspec.Struct, frozen=True):
    """A job as it was submitted last, so that it can be found and submitted again.

    Attributes:
        job: Flink's id.
        address: the cluster's.
        module: what was run.
        arguments: the job's own, without its parallelism.
        savepoint: what it was stopped with, empty while it was not.
    """

    job: str
    address: str
    module: str
    parallelism: int
    arguments: tuple[str, ...] = ()
    savepoint: str = ""


class Runs:
    """What was submitted from one data folder, by the job's name."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "jobs.json"

    def all(self) -> dict[str, Run]:
        """Return the last run of each job."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Run])
        except FileNotFoundError:
            return {}

    def get(self, name: str) -> Run:
        """Return the last run of a job.

        Raises:
            FlinkError: there was none.
        """
        known = self.all()
        if name not in known:
            told = ", ".join(known) or "none"
            raise FlinkError(
                f"no job {name!r} was run from here (run: {told}): `headrace flink run {name}`, or see"
                " `headrace flink status`"
            )
        return known[name]

    def put(self, name: str, run: Run) -> None:
        """Remember a run."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self._path, msgspec.to_builtins({**self.all(), name: run}))


def module_of(name: str) -> str:
    """Return a job's module.

    Raises:
        FlinkError: no job is called so, or this installation does not have it.
    """
    there = {name: module for name, module in MODULES.items() if module_path(root(), module) is not None}
    if name not in there:
        raise FlinkError(f"no job is called {name!r}; there are: {', '.join(there)}")
    return there[name]
