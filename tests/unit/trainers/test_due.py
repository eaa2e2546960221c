"""When a training may begin: the budget of runs, quiet hours, and what does not wait for them."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from schemas.config import Learn
from schemas.drift import DriftAlert, Response, Severity, Signal
from trainers.due import rows_to_follow, wait
from trainers.runs import Run

NOW = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)

_ALERT = DriftAlert(
    id="a", stream="host", model="host", version=3, signal=Signal.ERROR, detector="ensemble", statistic=0.3,
    threshold=0.1, since=NOW, window_from=NOW, window_to=NOW, observations=100, severity=Severity.WARNING,
    response=Response.INCREMENT, summary="error rose", raised_at=NOW,
)  # fmt: skip

_HOURS = st.lists(st.integers(-72, 0), max_size=12).map(
    lambda ago: [NOW + timedelta(hours=hours) for hours in ago]
)


def test_without_limits_it_begins() -> None:
    """The defaults know no quiet hours, and a day has fifty runs."""
    assert wait(Learn(), [NOW] * 49, NOW, urgent=False) is None
    assert wait(Learn(), [NOW - timedelta(days=1)] * 50, NOW, urgent=False) is None


def test_quiet_hours_are_waited_for() -> None:
    """Until they end, and the words say so; what is urgent begins."""
    learn = Learn(quiet="08:00-18:00")
    found = wait(learn, [], NOW, urgent=False)
    assert found is not None
    assert found.until == NOW.replace(hour=18, minute=0)
    assert str(found) == "these are quiet hours, 08:00-18:00; it waits until 2026-03-14 18:00:00 UTC"
    assert wait(learn, [], NOW, urgent=True) is None
    assert wait(learn, [], found.until, urgent=False) is None


def test_a_spent_budget_holds_for_what_is_urgent_too() -> None:
    """It waits until the oldest run that counts is a day old."""
    began = [NOW - timedelta(hours=hours) for hours in (30, 20, 10, 1)]
    found = wait(Learn(budget_runs_per_day=3), began, NOW, urgent=True)
    assert found is not None
    assert found.until == NOW + timedelta(hours=4)
    assert str(found).startswith("the budget of 3 runs a day is spent")
    over = wait(Learn(budget_runs_per_day=2), began, NOW, urgent=True)
    assert over is not None
    assert over.until == NOW + timedelta(hours=14)


@given(_HOURS, st.integers(1, 5))
def test_no_day_has_more_runs_than_its_budget(began: list[datetime], budget: int) -> None:
    """At the moment that is named it may begin, with fewer than the budget in the day before."""
    learn = Learn(budget_runs_per_day=budget)
    found = wait(learn, began, NOW, urgent=False)
    at = found.until if found else NOW
    assert at >= NOW
    assert wait(learn, began, at, urgent=False) is None
    assert sum(moment > at - timedelta(days=1) for moment in began) < budget


def _finished(state: str, rows: int, *, version: int = 0) -> Run:
    """Return a run that was to replace version 3."""
    run = Run(name="host-a", stream="host", state=state, started_at=NOW, alert=_ALERT, rows=rows)
    run.base, run.version = 3, version
    return run


def test_a_run_is_followed_with_twice_its_labels() -> None:
    """A rejected one while version 3 serves, a released one while its own does, up to `recent` rows."""
    learn = Learn(min_recent=100, recent=1000)
    rejected, released = _finished("rejected", 150), _finished("released", 150, version=4)
    assert rows_to_follow(learn, rejected, 3, over=True) == 300
    assert rows_to_follow(learn, released, 4, over=True) == 300
    assert rows_to_follow(learn, rejected, 4, over=False) is None
    assert rows_to_follow(learn, released, 3, over=False) is None
    assert rows_to_follow(learn, _finished("rejected", 0), 3, over=False) == 200


def test_beyond_what_a_training_reads_only_a_drift_that_stands_is_followed() -> None:
    """More labels than `recent` teach nothing new, unless no candidate was good enough yet."""
    learn = Learn(min_recent=100, recent=1000)
    assert rows_to_follow(learn, _finished("released", 600, version=4), 4, over=False) is None
    assert rows_to_follow(learn, _finished("rejected", 600), 3, over=False) == 1200
    assert rows_to_follow(learn, _finished("rejected", 600), 3, over=True) is None


def test_a_first_training_is_followed_by_none() -> None:
    """Without an alert there is no drift to learn more about."""
    first = _finished("released", 300, version=1)
    first.alert = None
    assert rows_to_follow(Learn(), first, 1, over=False) is None
