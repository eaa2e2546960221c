"""When a training is due: consumes a stream's limits and its runs so far, produces what is waited for.

Knows no clock: the learning loop asks with the present moment, a replay with that of its events.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from schemas.config import Learn
from schemas.hours import quiet_until
from trainers.runs import Run

_DAY: Final = timedelta(days=1)


class Wait(NamedTuple):
    """Until when a training that could begin is put off, and why."""

    until: datetime
    why: str

    def __str__(self) -> str:
        return f"{self.why}; it waits until {self.until:%Y-%m-%d %H:%M:%S} UTC"


def wait(learn: Learn, began: Iterable[datetime], now: datetime, *, urgent: bool) -> Wait | None:
    """Return what a training waits for at `now`; None lets it begin.

    `began` are the moments at which the stream's earlier trainings began. The budget of runs holds for every
    training; quiet hours do not hold for an urgent one, which a critical alert asked for.
    """
    budget = learn.budget_runs_per_day
    lately = sorted(moment for moment in began if moment > now - _DAY)
    if len(lately) >= budget:
        return Wait(lately[-budget] + _DAY, f"the budget of {budget} runs a day is spent")
    end = None if urgent else quiet_until(learn.quiet, now)
    return None if end is None else Wait(end, f"these are quiet hours, {learn.quiet}")


def rows_to_follow(learn: Learn, run: Run, serving: int, *, over: bool) -> int | None:
    """Return with how many labels since its drift a finished run is followed by another; None: by none.

    With twice what it learnt from, while the version serves that it released or failed to replace: what a
    few labels could teach is not the last word. Once that is more than `recent` rows, only a rejected
    candidate is followed, while its drift is not `over`. Before that this is not asked: a drift is over when
    the newest labels are no longer significantly worse, and few labels seldom are.
    """
    rows = 2 * max(run.rows, learn.min_recent)
    released = run.state == "released"
    if run.alert is None or serving not in ({run.version} if released else {run.base, run.base or serving}):
        return None
    return rows if rows <= learn.recent or not (released or over) else None
