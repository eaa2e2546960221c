"""One backtest from files to figures: consumes a Plan, produces an Outcome with the seconds it took."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

from infra.backtest.outcome import Outcome
from infra.backtest.plan import Plan
from infra.backtest.reading import read
from infra.backtest.replay import Progress, replay
from infra.backtest.row import History
from schemas.config import Stream
from schemas.errors import Fatal
from schemas.release import Task

_MOST_LABELS: Final = 200


def load(plan: Plan) -> History:
    """Read the plan's files.

    Raises:
        Fatal: they cannot be read, or the plan does not fit them.
    """
    history = read(plan.files, plan.columns)
    rows = len(history.rows)
    if plan.train_rows >= rows:
        raise Fatal(f"--train-rows {plan.train_rows} leaves none of the {rows} rows to judge")
    if plan.delay.seconds and not history.timed:
        raise Fatal("a --label-delay in event time needs --time COLUMN; or give it as a number of rows")
    beyond = [drift for drift in plan.drifts if drift >= rows]
    if beyond:
        raise Fatal(f"--drifts: row {beyond[0]} lies beyond the last, {rows - 1}")
    _check_labels(plan, history)
    return history


def _check_labels(plan: Plan, history: History) -> None:
    """Refuse a label that is a measurement: nearly every row would be a class of its own."""
    labels = {row.label for row in history.rows}
    if history.label and not plan.columns.errors and len(labels) > max(_MOST_LABELS, len(history.rows) // 5):
        raise Fatal(
            f"the label {history.label!r} has {len(labels)} different values in {len(history.rows)} rows,"
            " so it is no class; name the column that is with --label"
        )
    if history.label and labels == {""}:
        raise Fatal(f"no row has a label: column {history.label!r} is empty")


def execute_live(plan: Plan, progress: Callable[[int], Progress]) -> Outcome:
    """Send a history through the live system's own parts, as the plan's stream is configured.

    `progress` is told how many events there are and returns who wants to hear of them.

    Raises:
        Fatal: there is no such stream, it has no model, or the files cannot be read.
    """
    from infra.backtest.live.events import recorded
    from infra.backtest.live.run import Live
    from infra.runtime.settings import home, load_config

    config = load_config()
    stream = config.streams.get(plan.stream)
    if stream is None:
        known = ", ".join(config.streams)
        raise Fatal(f"--stream: no stream is called {plan.stream!r}; headrace.toml defines: {known}")
    if stream.model is None:
        raise Fatal(f"--stream: {plan.stream!r} has no [streams.{plan.stream}.model], so nothing is judged")
    if stream.model.task is Task.REGRESSION:
        raise Fatal(
            f"--stream: the model of {plan.stream!r} answers numbers, and a backtest counts right classes;"
            " `headrace train FILE --task regression` measures errors on held-out rows"
        )
    history = History()
    events = recorded(plan, plan.stream, stream.kind, history)
    if not events:
        why = f"; the first problem: {history.problems[0]}" if history.problems else ""
        raise Fatal(f"there is nothing to replay in {', '.join(map(str, plan.files))}{why}")
    with _workspace(home() / "backtest") as folder:
        live = Live(plan.stream, _watched(stream, plan), stream.model, plan, folder, len(events))
        return live.run(events, history, progress(len(events)))


def _watched(stream: Stream, plan: Plan) -> Stream:
    """Return the stream with the detector that was asked for."""
    if plan.detector is None:
        return stream
    error = stream.drift.error.model_copy(update={"detector": plan.detector.value})
    return stream.model_copy(update={"drift": stream.drift.model_copy(update={"error": error})})


@contextmanager
def _workspace(kept: Path) -> Iterator[Path]:
    """Make a folder for one run's releases; what encoders cost much to make is kept from run to run."""
    with TemporaryDirectory(prefix="headrace-backtest-") as temporary:
        trainer = Path(temporary) / "trainer"
        trainer.mkdir()
        for name in ("encoders", "embeddings"):
            (kept / name).mkdir(parents=True, exist_ok=True)
            (trainer / name).symlink_to(kept / name)
        yield Path(temporary)


def execute(plan: Plan, history: History, progress: Progress = lambda _rows: None) -> Outcome:
    """Replay a history that was loaded.

    Raises:
        Fatal: the history has not what the plan's model reads.
    """
    began = perf_counter()
    outcome = replay(history, plan, progress)
    outcome.seconds["total"] = perf_counter() - began
    return outcome
