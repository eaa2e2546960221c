"""One `headrace train`: consumes an order and its files, shows how far it is, produces a folder and a report.

The folder appears with the first checkpoint or file, and says by its contents what it is: a training that was
interrupted (a checkpoint), or a finished one (a report).
"""

import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from infra.training.reading import Read, read
from schemas.errors import Fatal
from schemas.release import Release
from trainers.tasks.examples import Example
from trainers.tasks.handover import hand_over
from trainers.tasks.training import CHECKPOINT, REPORT, SCRATCH, Order, Report, Watcher, train
from trainers.tasks.work import Surroundings

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Files:
    """Where a training reads and writes, and which columns are what."""

    data: Path
    test: Path | None
    out: Path
    columns: dict[str, str]
    features: tuple[str, ...]
    skip_bad: bool
    home: Path


@dataclass(frozen=True)
class Way:
    """How it runs: whether from a checkpoint, how often it writes one, on how many threads."""

    resume: bool
    every_s: float
    threads: int


def roles(given: list[str]) -> dict[str, str]:
    """Read `ROLE=NAME` options.

    Raises:
        Fatal: one has another form.
    """
    pairs = [text.partition("=") for text in given]
    for text, (role, sign, name) in zip(given, pairs, strict=True):
        if not (role and sign and name):
            raise Fatal(f"--column {text}: write ROLE=NAME, such as text=body")
    return {role: name for role, _, name in pairs}


def listed(text: str) -> tuple[str, ...]:
    """Return the names between commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def execute(
    order: Order, files: Files, way: Way, console: "Console", stream: str
) -> tuple[Report, Release | None]:
    """Train, and hand the model over to a stream if one is named.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; a checkpoint is left where there is something to go on from.
        Fatal: files, columns, rows or the order are wrong; the message says which.
    """
    _claim(files.out, resume=way.resume)
    order, examples, tests = loaded(order, files, console)
    files.out.mkdir(parents=True, exist_ok=True)
    with stoppable() as stop, _shown(console) as tell:
        around = Surroundings(files.home, way.threads or os.cpu_count() or 1)
        trained = train(order, examples, tests, files.out, around, Watcher(tell, stop, way.every_s))
    try:
        return trained.report, hand_over(trained, files.home, stream, stream) if stream else None
    finally:
        shutil.rmtree(files.out / SCRATCH, ignore_errors=True)


def loaded(order: Order, files: Files, console: "Console") -> tuple[Order, list[Example], list[Example]]:
    """Read data and test rows; return the order with their readings' names, and both. Says what was left out.

    Raises:
        Fatal: a file cannot be read, or the test has other readings than the data.
    """
    known = _read(order, files, files.data)
    tests = _read(order, files, files.test) if files.test else Read([], (), [])
    for problem in (*known.problems, *tests.problems)[:5]:
        console.print(f"left out: {problem}", markup=False)
    if tests.examples and tests.features != known.features:
        raise Fatal("the test file has other readings than the data; name those that count with --features")
    return msgspec.structs.replace(order, features=known.features), known.examples, tests.examples


def _read(order: Order, files: Files, path: Path) -> Read:
    return read(path, order.kind, files.columns, skip_bad=files.skip_bad, features=files.features)


def _claim(out: Path, *, resume: bool) -> None:
    """Refuse to write over what somebody may want to keep.

    Raises:
        Fatal: the folder holds a training, or something else.
    """
    if (out / CHECKPOINT).is_file():
        if not resume:
            raise Fatal(f"{out} holds an interrupted training: go on with --resume, or name another folder")
        return
    if (out / REPORT).is_file():
        raise Fatal(f"{out} holds a finished training; name another folder with --out")
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not resume):
        raise Fatal(f"{out} is not empty; name a new folder with --out")


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Make the first Ctrl-C (or SIGTERM) a wish to stop after this step; the second ends it at once."""
    wished = threading.Event()

    def wish(number: int, _frame: object) -> None:
        if wished.is_set():
            raise KeyboardInterrupt
        wished.set()

    before = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield wished.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _shown(console: "Console") -> Iterator[Callable[[str, int, int, float], None]]:
    """Show a bar for each slow step, with the newest loss, on a terminal only."""
    from math import isnan

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
    )  # fmt: skip
    bars: dict[str, TaskID] = {}
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        def tell(step: str, done: int, total: int, loss: float) -> None:
            if step not in bars:
                bars[step] = progress.add_task(step, total=total, loss="")
            progress.update(
                bars[step], completed=done, total=total, loss="" if isnan(loss) else f"loss {loss:.4f}"
            )

        yield tell
