"""A history through the live system's own parts: cleaning, watch, trainer and gate, without a broker."""

import csv
import random
from pathlib import Path

import msgspec
import pytest

from infra.backtest.live.events import recorded
from infra.backtest.live.run import Live
from infra.backtest.live.store import Store
from infra.backtest.plan import ColumnPlan, Plan
from infra.backtest.row import History
from schemas.clean import Clean
from schemas.config import Learn, Stream
from schemas.errors import Fatal
from schemas.event_time import parse
from schemas.record import Coordinates, Kind

SENSOR = Stream.model_validate(
    {
        "kind": "sensor",
        "model": {"task": "classification", "learn": {"min_labels": 200, "replay": 200}},
    }
)


def growing(path: Path, rows: int, at: int) -> Path:
    """Write readings of two states to which a third comes at a row, and one reading that is no number."""
    chance = random.Random(3)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Heat", "load", "state"])
        for number in range(rows):
            heat, load = chance.random(), chance.random()
            third = number >= at and chance.random() < 0.4
            state = "c" if third else "ab"[heat > load]
            writer.writerow([f"{heat + 2.0 * third:.4f}", f"{load:.4f}", state])
        writer.writerow(["warm", "0.5", "a"])
    return path


def test_a_drift_goes_the_whole_way(tmp_path):
    """A first model, an alert on the errors after the turn, a training, a release that serves."""
    path = growing(tmp_path / "plant.csv", 1400, 700)
    plan = Plan(files=(path,), stream="plant", drifts=(700,))
    history = History()
    events = recorded(plan, "plant", Kind.SENSOR, history)
    (tmp_path / "home").mkdir()
    model = SENSOR.model
    assert model is not None
    live = Live("plant", SENSOR, model, plan, tmp_path / "home", len(events))
    figures = live.run(events, history, lambda _done: None).figures()

    assert figures["rows"] == 1400 and figures["bad_rows"] == 1
    assert "plant.csv line 1402" in figures["problems"][0] and "heat" in figures["problems"][0]
    errors = [alert for alert in figures["alerts"] if alert["kind"] == "error"]
    assert 700 < errors[0]["row"] < 900 and figures["drifts"]["found"] == 1
    first, second = figures["releases"][:2]
    assert first["alert"] == "" and second["alert"] and second["version"] > first["version"]
    assert second["row"] > errors[0]["row"]
    after = [window["accuracy"] for window in figures["by_window"] if window["from"] > second["row"]]
    assert min(after) > 0.8
    assert figures["baselines"]["frozen"] < figures["accuracy"]
    assert 0.5 < figures["baselines"]["always_retrain"] <= 1.0


def test_requests_and_lines_are_made_of_a_text_column(tmp_path):
    """A payload is the query of a request or the message of a line; fields go by their names."""
    table = tmp_path / "payloads.csv"
    table.write_text("payload,kind\n<script>alert(1)</script>,xss\nblue boots and shoes,norm\n")
    for kind, field in ((Kind.API, "query"), (Kind.LOG, "message")):
        events = recorded(Plan(files=(table,)), "s", kind, History())
        assert [event.label for event in events] == ["xss", "norm"]
        assert "script" in msgspec.json.decode(events[0].event)["data"][field]
    named = tmp_path / "requests.csv"
    named.write_text("path,method,y\n/a,GET,norm\n/b,POST,norm\n")
    (first, _) = recorded(Plan(files=(named,)), "s", Kind.API, History())
    assert msgspec.json.decode(first.event)["data"] == {"path": "/a", "method": "GET"}
    numbers = tmp_path / "numbers.csv"
    numbers.write_text("x,y\n1,a\n2,b\n")
    with pytest.raises(Fatal, match="--text COLUMN"):
        recorded(Plan(files=(numbers,)), "s", Kind.API, History())


def test_published_lines_keep_their_own_time_and_label(tmp_path):
    """CloudEvents as they were published; a broken line is refused and the others go on."""
    event: dict[str, object] = {
        "specversion": "1.0",
        "id": "1",
        "source": "shop",
        "type": "headrace.log.line.v1",
    }
    event |= {"time": "2026-03-14T09:26:53Z", "data": {"message": "hi"}, "label": "ok"}
    path = tmp_path / "events.jsonl"
    path.write_bytes(msgspec.json.encode(event) + b"\nnope\n" + b'{"message": "bare", "label": "bad"}\n')
    history = History()
    first, second = recorded(Plan(files=(path,)), "logs", Kind.LOG, history)
    assert first.at_s == parse("2026-03-14T09:26:53Z").timestamp() and first.label == "ok"
    assert second.at_s == first.at_s + 1 and second.label == "bad"
    assert history.bad == 1 and history.problems[0].line == 2
    assert history.timed


def test_time_orders_what_is_sent(tmp_path):
    """With a time column the events are sent in its order, whatever the file's."""
    path = tmp_path / "t.csv"
    path.write_text("at,x,y\n2026-01-01T00:00:02Z,1,a\n2026-01-01T00:00:01Z,2,b\n")
    events = recorded(Plan(files=(path,), columns=ColumnPlan(time="at")), "s", Kind.SENSOR, History())
    assert [event.label for event in events] == ["b", "a"]


def test_the_store_draws_as_the_reader_does():
    """Recent rows are those since a moment; of the old ones each class has its fair share."""
    store = Store()
    for number in range(900):
        at = Coordinates("events.clean", 0, number)
        time = parse(f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z")
        clean = Clean(stream="s", kind=Kind.SENSOR, source="x", id=str(number), time=time, raw=at)
        store.add(clean, at, "rare" if number % 30 == 0 else "common")
    since = parse("2026-01-01T00:10:00Z")
    assert store.count(since) == 300 and store.count(None) == 900
    data = store.dataset(Learn(replay=40, recent=200), since)
    assert len([*data.recent, *data.recent_validation, *data.recent_held_out]) == 200
    assert all(row.time >= since for row in data.recent) and all(row.time < since for row in data.old)
    old = [row.label for row in (*data.old, *data.old_validation, *data.old_held_out)]
    assert old.count("rare") == 20 and old.count("common") == 30
