"""One backtest from files to figures: consumes a Plan, produces an Outcome with the seconds it took."""

from time import perf_counter

from infra.backtest.outcome import Outcome
from infra.backtest.plan import Plan
from infra.backtest.reading import read
from infra.backtest.replay import Progress, replay
from infra.backtest.row import History
from schemas.errors import Fatal


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
    return history


def execute(plan: Plan, history: History, progress: Progress = lambda _rows: None) -> Outcome:
    """Replay a history that was loaded.

    Raises:
        Fatal: the history has not what the plan's model reads.
    """
    began = perf_counter()
    outcome = replay(history, plan, progress)
    outcome.seconds["total"] = perf_counter() - began
    return outcome
