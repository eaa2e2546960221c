"""The registry that people read: consumes finished runs and what serves, has both written to MLflow.

MLflow lies on SQLite under the data folder, or wherever `MLFLOW_TRACKING_URI` says. Importing it takes
seconds and 200 MB, so it happens in a short process of its own, after the release was announced: no swap
waits for it, and its failure is logged and tried again with the next run.

    python -m trainers.registry HOME      registers what is not registered yet
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from infra.runtime.durable import write
from infra.runtime.log import configure, get_logger
from schemas.release import Release
from trainers.tracking import Registry

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

    def serving(self, champions: Mapping[str, Release]) -> None:
        """Say what serves: the aliases follow, after a crash too, for it is on disk."""
        wanted = dict(champions)
        if wanted != _read(_wanted(self._home)):
            write(_wanted(self._home), wanted)
            self.wake()

    async def run(self) -> None:
        """Go on for ever, one process at a time."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            if pending(self._home) or unpointed(self._home):
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


def unpointed(home: Path) -> dict[str, Release]:
    """Return what serves of the models whose aliases say otherwise."""
    pointed = _read(_pointed(home))
    return {m: release for m, release in _read(_wanted(home)).items() if pointed.get(m) != release}


def tracking_uri(home: Path) -> str:
    """Return where MLflow keeps its runs."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}"


def open_registry(home: Path) -> Registry:
    """Connect to MLflow; imports it, and makes its tables where there are none.

    The address goes to the client alone: `mlflow.set_tracking_uri` would change this process's environment.
    """
    from mlflow import MlflowClient

    uri = tracking_uri(home)
    local = not os.environ.get("MLFLOW_TRACKING_URI")
    artifacts = (home / "mlflow").absolute().as_uri() if local else None
    return Registry(MlflowClient(uri, registry_uri=uri), artifacts)


def catch_up(home: Path, registry: Registry) -> dict[str, str]:
    """Register every pending run, then let the aliases say what serves; return what failed, and why.

    A run that cannot be registered holds up no other.
    """
    failed = {}
    for run in pending(home):
        try:
            write(run / _MARK, {"run_id": registry.register(run)})
        except Exception as error:  # noqa: BLE001 - told by the caller and tried again, whatever it was
            failed[run.name] = f"{type(error).__name__}: {error}"
    for model, release in unpointed(home).items():
        if registry.point(release):
            write(_pointed(home), _read(_pointed(home)) | {model: release})
    return failed


def _wanted(home: Path) -> Path:
    return home / "trainer" / "serving.json"


def _pointed(home: Path) -> Path:
    return home / "trainer" / "aliases.json"


def _read(path: Path) -> dict[str, Release]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Release])
    except FileNotFoundError:
        return {}


def main(arguments: list[str]) -> int:
    """Register what is not registered yet."""
    os.nice(15)
    home = Path(arguments[0]).absolute()
    configure("trainer-registry")
    from trainers.quiet import quietly

    with quietly():
        failed = catch_up(home, open_registry(home))
    for run, reason in failed.items():
        _log.warning("run.unregistered", run=run, reason=reason)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
