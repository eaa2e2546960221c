"""One `headrace tune`: consumes an order, a wish and files, shows trials as they come, trains the best."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from infra.runtime.durable import write
from infra.search import page
from infra.training.command import Files, loaded, stoppable
from schemas.errors import Fatal
from trainers.search.space import Value
from trainers.search.study import STUDY, Found, Listener, Search, Tried, Wish
from trainers.tasks.training import REPORT, SCRATCH, Order, Report, Watcher, train
from trainers.tasks.work import Surroundings

if TYPE_CHECKING:
    from rich.console import Console

RESULT: Final = "tune.json"
PAGE: Final = "tune.html"
BEST: Final = "best"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """`tune.json`: what was found, and the report of the model that was trained with the best values."""

    task: str
    base: str
    wish: Wish
    found: Found
    report: Report


def execute(order: Order, wish: Wish, files: Files, threads: int, console: "Console") -> Result:
    """Search, train with the best values, and write model, figures and page to the folder.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the same command goes on.
        Fatal: files, space or order are wrong, or another search lies in the folder.
    """
    _claim(files.out)
    order, examples, tests = loaded(order, files, console)
    files.out.mkdir(parents=True, exist_ok=True)
    around = Surroundings(files.home, threads)
    with _alone(files.out), stoppable() as stop, _shown(console) as listener:
        listener.stop = stop
        search = Search(order, wish, examples, tests, files.out)
        found = search.run(around, listener)
        order = search.best_order(found)
        folder = files.out / BEST
        report = _reported(folder)
        if report is None or report.recipe != order.recipe:
            shutil.rmtree(folder, ignore_errors=True)  # of values that were the best before
            folder.mkdir()
            watcher = Watcher(lambda _name, done, total, loss: listener.step(done, total, loss), stop)
            listener.began(0, 0, found.best.values)
            report = train(order, examples, tests, folder, around, watcher).report
            shutil.rmtree(folder / SCRATCH, ignore_errors=True)
    result = Result(task=order.kind.value, base=order.base, wish=wish, found=found, report=report)
    write(files.out / RESULT, result)
    title = f"{order.kind.value}, {order.recipe.mode.value} of {report.base}: {wish.sampler} search"
    page.write(files.out / PAGE, title, wish.space, found, report.metrics)
    return result


def _claim(out: Path) -> None:
    """Refuse to write over what somebody may want to keep."""
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / STUDY).is_file()):
        raise Fatal(f"{out} is not empty and holds no search; name a new folder with --out")


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder, so that two searches do not draw from one study.

    Raises:
        Fatal: another process holds it.
    """
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Fatal(f"another `headrace tune` is at work in {out}") from None
        yield


def _reported(folder: Path) -> Report | None:
    try:
        return msgspec.json.decode((folder / REPORT).read_bytes(), type=Report)
    except FileNotFoundError:
        return None


@contextmanager
def _shown(console: "Console") -> Iterator[Listener]:
    """Show the running trial as a bar, and a line for each that ended."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("")

        def began(number: int, of: int, values: dict[str, Value]) -> None:
            what = f"trial {number} of {of}" if number else "training with the best values"
            progress.reset(bar, description=f"{what}: {worded(values)}")

        def step(done: int, total: int, _loss: float) -> None:
            progress.update(bar, completed=done, total=total)

        def ended(tried: Tried, best: float) -> None:
            outcome = f"{tried.value:.5g}" if tried.value is not None else tried.reason or "ended early"
            told = f"{worded(tried.values)}; {tried.seconds:.1f} s; best {best:.5g}"
            console.print(f"trial {tried.number}: {outcome} ({told})", markup=False, soft_wrap=True)

        yield Listener(began, step, ended)


def worded(values: dict[str, Value]) -> str:
    """Return a trial's values in one line."""
    return ", ".join(f"{name} {page.shown(value)}" for name, value in values.items())
