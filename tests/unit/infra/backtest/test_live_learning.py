"""The learning loop in event time: what a training takes, budgets, quiet hours, and another try."""

import csv
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from infra.backtest.live.events import recorded
from infra.backtest.live.run import Live
from infra.backtest.plan import ColumnPlan, Plan, parse_training_time
from infra.backtest.row import History
from schemas.config import Stream
from schemas.errors import Fatal
from schemas.record import Kind

BEGIN = datetime(2026, 1, 1, 8, 0, tzinfo=UTC)
ROWS, TURN = 1400, 700


def plant(path: Path, apart_s: float) -> Path:
    """Write readings of two states to which a third comes at half time, so many seconds apart."""
    chance = random.Random(3)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["at", "heat", "load", "state"])
        for number in range(ROWS):
            heat, load = chance.random(), chance.random()
            third = number >= TURN and chance.random() < 0.4
            at = BEGIN + timedelta(seconds=number * apart_s)
            writer.writerow([at.isoformat(), heat + 2.0 * third, load, "c" if third else "ab"[heat > load]])
    return path


def replayed(folder: Path, *, apart_s: float, timed: bool = True, training: str = "", **learn: Any) -> Any:
    """Replay the plant; returns the figures."""
    gate = {"p99_ms": 500, "min_gain": learn.pop("min_gain", 0.0)}
    section = {"learn": {"min_labels": 200, "epochs": 15, **learn}}
    stream = Stream.model_validate({"kind": "sensor", "model": section, "gate": gate})
    path = plant(folder / "plant.csv", apart_s)
    columns = ColumnPlan(time="at", label="state") if timed else ColumnPlan(label="state", drop=("at",))
    training_s = parse_training_time(training)
    plan = Plan(files=(path,), columns=columns, stream="plant", baselines=False, training_s=training_s)
    history = History()
    events = recorded(plan, "plant", Kind.SENSOR, history)
    home = folder / f"home-{len(list(folder.iterdir()))}"
    home.mkdir()
    assert stream.model is not None
    live = Live("plant", stream, stream.model, plan, home, len(events))
    return live.run(events, history, lambda _done: None).figures()


def steady(figures: dict[str, Any]) -> bytes:
    """Return figures without what this machine's speed decides."""
    trainings = [{**training, "seconds": 0} for training in figures["trainings"]]
    kept = {name: value for name, value in figures.items() if name != "seconds"}
    return msgspec.json.encode({**kept, "trainings": trainings})


def test_a_training_takes_event_time(tmp_path: Path) -> None:
    """With rows 2 s apart a training of 100 s lasts 50 rows, in which the model before it answers."""
    slow = replayed(tmp_path, apart_s=2.0, training="100s")
    fast = replayed(tmp_path, apart_s=2.0, training="0s")
    assert len(slow["releases"]) >= 2
    began = {training["version"]: training["row"] for training in slow["trainings"]}
    assert [release["row"] - began[release["version"]] for release in slow["releases"]] == [50] * len(
        slow["releases"]
    )
    assert slow["accuracy"] < fast["accuracy"]
    assert slow["judged"] == fast["judged"] - 50  # nobody answers until the first model is there
    assert steady(slow) == steady(replayed(tmp_path, apart_s=2.0, training="100s"))


def test_it_takes_what_it_took_here_where_rows_have_times(tmp_path: Path) -> None:
    """With rows a millisecond apart some come meanwhile; without times none do."""
    timed = replayed(tmp_path, apart_s=0.001)
    assert timed["releases"][0]["row"] > timed["trainings"][0]["row"]
    untimed = replayed(tmp_path, apart_s=0.001, timed=False)
    assert untimed["releases"][0]["row"] == untimed["trainings"][0]["row"]


def test_quiet_hours_are_those_of_the_events(tmp_path: Path) -> None:
    """The first model is due at 9:40 and is trained at noon, by the clock of the rows."""
    figures = replayed(tmp_path, apart_s=30.0, training="0s", quiet="09:00-12:00")
    noon = int(timedelta(hours=4) / timedelta(seconds=30))
    assert figures["trainings"][0]["row"] == noon
    (wait, *_) = figures["waits"]
    assert (wait["row"], wait["until"]) == (199, "2026-01-01T12:00:00+00:00")
    assert "quiet hours" in wait["why"]


def test_the_budget_is_of_a_day_of_event_time(tmp_path: Path) -> None:
    """The first training spent the day's one run, so that the drift is answered a day of rows later."""
    figures = replayed(tmp_path, apart_s=120.0, training="0s", budget_runs_per_day=1)
    first, second = (training["row"] for training in figures["trainings"][:2])
    assert second - first == 86400 // 120
    assert "budget" in figures["waits"][0]["why"]


def test_another_is_trained_while_a_drift_stands(tmp_path: Path) -> None:
    """A candidate that cannot gain enough is rejected; the next one knows twice as many labels."""
    figures = replayed(tmp_path, apart_s=1.0, training="0s", min_labels=100, min_gain=0.9)
    _, second, third = figures["trainings"][:3]
    assert [rejection["version"] for rejection in figures["rejections"][:2]] == [2, 3]
    assert third["alert"] == second["alert"]
    assert third["labels"] >= 2 * second["labels"] - 10  # a fifth of each is held out, by chance


def test_the_time_of_a_training_is_a_duration() -> None:
    """Anything else is refused, and so is the option where no stream trains."""
    assert parse_training_time("") is None
    assert parse_training_time("2m") == 120
    with pytest.raises(Fatal, match="--training-time"):
        parse_training_time("soon")
    with pytest.raises(Fatal, match="--stream"):
        Plan(files=(), training_s=3.0).check()
