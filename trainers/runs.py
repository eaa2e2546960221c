"""What the trainer remembers across a crash: a folder per run, and the alerts that need no answer."""

import contextlib
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from infra.runtime.durable import write
from schemas.drift import DriftAlert, Response, Severity

FINAL: Final = frozenset({"released", "rejected", "rolled_back"})


class Run(msgspec.Struct, kw_only=True):
    """`state.json` of one run; `alert` is None for a stream's first training.

    `attempt` counts the runs for one alert; `rows` are the labelled ones since the drift that it learnt from.
    `trained_at` is when its training began. `retrain` and `urgent` tell what the most demanding of its alerts
    asked for, `drift` is the newest one of the first's signal: with its recovery the drift is over. `base` is
    the version that is to be replaced (0: whichever serves), `version` the one that was released.
    """

    name: str
    stream: str
    state: str
    started_at: datetime
    alert: DriftAlert | None = None
    message: str = ""
    attempt: int = 1
    rows: int = 0
    trained_at: datetime | None = None
    retrain: bool = False
    urgent: bool = False
    drift: str = ""
    base: int = 0
    version: int = 0

    def hear(self, alert: DriftAlert) -> None:
        """Take an alert of the same cause; what it asks for beyond the others holds from now on."""
        self.retrain |= alert.response is Response.RETRAIN
        self.urgent |= alert.severity is Severity.CRITICAL
        if self.alert is not None and alert.signal is self.alert.signal:
            self.drift = alert.id


class Runs:
    """The run folders under `<home>/trainer/runs`, and `handled.txt` beside them."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "trainer" / "runs"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._handled_file = home / "trainer" / "handled.txt"
        self._handled: set[str] = set()
        with contextlib.suppress(FileNotFoundError):  # no alert was handled yet
            self._handled = set(self._handled_file.read_text(encoding="utf-8").splitlines())

    def folder(self, run: Run) -> Path:
        """Return a run's folder."""
        return self._folder / run.name

    def begin(self, stream: str, alert: DriftAlert | None, now: datetime) -> Run:
        """Return the run for an alert; the same one again after a restart."""
        mark = re.sub(r"[^A-Za-z0-9._-]", "_", alert.id) if alert else f"first-{int(now.timestamp())}"
        run = Run(name=f"{stream}-{mark}", stream=stream, state="alerted", started_at=now, alert=alert)
        if alert is not None:
            run.base = alert.version
            run.hear(alert)
        return self._begun(run)

    def begin_again(self, before: Run, serving: int, now: datetime) -> Run:
        """Return the run that follows one for the same drift, to replace the version that serves now."""
        attempt = before.attempt + 1
        first = before.name.removesuffix(f"-again-{before.attempt}")
        changed = {"name": f"{first}-again-{attempt}", "state": "alerted", "started_at": now, "base": serving}
        fresh = {"attempt": attempt, "message": "", "rows": 0, "trained_at": None, "version": 0}
        return self._begun(msgspec.structs.replace(before, **changed, **fresh))

    def _begun(self, run: Run) -> Run:
        self.folder(run).mkdir(exist_ok=True)
        self.keep(run)
        return run

    def keep(self, run: Run) -> None:
        """Write a run's state to disk."""
        write(self.folder(run) / "state.json", run)

    def all(self, stream: str) -> list[Run]:
        """Return a stream's runs, oldest first."""
        found = [
            msgspec.json.decode(path.read_bytes(), type=Run) for path in self._folder.glob("*/state.json")
        ]
        return sorted((run for run in found if run.stream == stream), key=lambda run: run.started_at)

    def unfinished(self, stream: str) -> Run | None:
        """Return the run that a crash interrupted, if there is one."""
        return next((run for run in self.all(stream) if run.state not in FINAL), None)

    def newest(self, stream: str) -> Run | None:
        """Return a stream's newest run."""
        return next(reversed(self.all(stream)), None)

    def trainings(self, run: Run) -> list[datetime]:
        """Return when the trainings of all other runs of a run's stream began."""
        others = (other for other in self.all(run.stream) if other.name != run.name)
        return [other.trained_at for other in others if other.trained_at is not None]

    def failures(self, stream: str) -> int:
        """Return how many of a stream's newest candidates were rejected or rolled back in a row."""
        count = 0
        for run in reversed([run for run in self.all(stream) if run.state in FINAL and run.trained_at]):
            if run.state == "released":
                break
            count += 1
        return count

    def take_back(self, stream: str, version: int) -> None:
        """Note that the version which a run released was rolled back: to the loop it is as a rejected one."""
        for run in self.all(stream):
            if run.version == version and run.state == "released":
                run.state = "rolled_back"
                self.keep(run)

    def handled(self, alert: str) -> bool:
        """Tell whether an alert needs no answer any more."""
        return alert in self._handled

    def handle(self, alert: str) -> None:
        """Remember, on disk, that an alert needs no answer any more."""
        if alert in self._handled:
            return
        self._handled.add(alert)
        with self._handled_file.open("a", encoding="utf-8") as file:
            file.write(f"{alert}\n")
            file.flush()
            os.fsync(file.fileno())
