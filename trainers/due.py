"""When a training may begin: consumes a stream's limits and its trainings so far, produces what it waits for.

Knows no clock: the learning loop asks with the present moment, a replay with that of its events.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from schemas.config import Learn
from schemas.hours import quiet_until

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


def rows_again(learn: Learn, rows: int) -> int:
    """Return how many labels since a drift another candidate takes, after one that learnt from `rows`."""
    return 2 * max(rows, learn.min_labels)
