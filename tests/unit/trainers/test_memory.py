"""What a run leaves for the next one: lineage, the split, rows that the warehouse has no more."""

import random
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from schemas.cleaning import Cleaning
from schemas.config import Learn
from schemas.errors import Fatal
from tests.unit.trainers import samples
from trainers.dataset import Dataset, rows_of
from trainers.description import Description, window
from trainers.memory import Memory, Origin, memory_file

LEARN = Learn(replay=80, recent=400)
FIRST = rows_of(samples.requests(1, normal=150, sqli=90))
SINCE = samples.START + timedelta(seconds=5000)
RECENT = rows_of(samples.requests(2, after_s=5000, normal=100, xss=80))


def _known(data: Dataset) -> Description:
    assert data.description is not None
    return data.description


def test_rows_come_back_after_a_restart_though_the_warehouse_lost_them(tmp_path: Path) -> None:
    """The second run finds no old rows in the warehouse; they come from memory, with lineage."""
    file = memory_file(tmp_path, "requests")
    first = Memory(file).dataset(LEARN, FIRST, [], None, Origin(stream="requests"))
    second = Memory(file).dataset(
        LEARN, RECENT, [], SINCE, Origin(stream="requests", alert="drift-1", champion=1, parent="beef")
    )
    assert {row.label for row in second.old} == {"normal", "sqli"}
    known = _known(second)
    assert known.lineage.alert == "drift-1"
    assert known.lineage.champion == 1
    assert known.lineage.parents == {first.sha256(): known.windows[-1].rows, "beef": 0}
    assert known.windows[-1].name == "replayed"
    assert known.windows[-1].rows <= 100
    again = [entry for entry in Memory(file).entries if entry.row.label == "xss"]
    assert again and {entry.dataset for entry in again} == {second.sha256()}


def test_the_split_holds_over_runs_and_restarts(tmp_path: Path) -> None:
    """No row that one run trained on is another's test or validation, and the other way round."""
    file = memory_file(tmp_path, "requests")
    sides: dict[tuple[str, str], str] = {}
    rows = rows_of(samples.requests(1, normal=250, sqli=250))
    for upto in (100, 110, 250, 400, 500):
        data = Memory(file).dataset(LEARN, rows[:upto], [], None, Origin())
        for side, part in data.parts().items():
            for row in part:
                assert sides.setdefault((row.source, row.id), side) == side
    assert set(sides.values()) == {"training", "validation", "test"}


def test_the_version_is_the_rows_and_their_sides_in_any_order() -> None:
    """Order and place change nothing; a label, a text or a row does."""
    data = Memory().dataset(LEARN, FIRST, [], None, Origin())
    shuffled = random.Random(5).sample(FIRST, len(FIRST))
    moved = [msgspec.structs.replace(row, event=RECENT[0].event) for row in FIRST]
    for same in (shuffled, moved):
        assert Memory().dataset(LEARN, same, [], None, Origin()).sha256() == data.sha256()
    changed = [msgspec.structs.replace(FIRST[0], label="sqli" if FIRST[0].label == "normal" else "normal")]
    for other in ([*changed, *FIRST[1:]], FIRST[1:]):
        assert Memory().dataset(LEARN, other, [], None, Origin()).sha256() != data.sha256()
    assert data.range().dataset_sha256 == data.sha256()
    assert len(data.sha256()) == 64


def test_training_sees_the_same_rows_in_the_same_order() -> None:
    """However they arrived, so that a run can be repeated bit for bit."""
    data = Memory().dataset(LEARN, FIRST, [], None, Origin())
    shuffled = Memory().dataset(LEARN, random.Random(6).sample(FIRST, len(FIRST)), [], None, Origin())
    assert shuffled.training == data.training
    assert [row.time for row in data.recent] == sorted((row.time for row in data.recent), reverse=True)


def test_the_statistics_and_the_dictionary_describe_the_rows() -> None:
    """Rows, classes, lengths, missing readings, quantiles; units and ranges from the configuration."""
    text = _known(Memory().dataset(LEARN, FIRST, [], None, Origin()))
    counted = sum(sum(classes.values()) for classes in text.statistics.classes.values())
    assert counted == sum(text.statistics.rows.values())
    lengths = text.statistics.lengths
    assert 0 < lengths["min"] <= lengths["p50"] <= lengths["max"] <= max(len(row.text) for row in FIRST)
    assert "label" in {field.name for field in text.dictionary}

    rows = rows_of(samples.readings(1, 200))
    values = {name: value for name, value in rows[0].values.items() if name != "cpu"}
    rows[0] = msgspec.structs.replace(rows[0], values=values)
    cleaning = Cleaning(units={"temperature": "degC"}, ranges={"cpu": (0.0, 200.0)})
    known = _known(Memory().dataset(LEARN, rows, [], None, Origin(cleaning=cleaning)))
    assert known.statistics.missing["cpu"] == 1
    low, middle, high = (known.statistics.features["fan_rpm"][name] for name in ("min", "p50", "max"))
    assert low < middle < high
    fields = {field.name: field for field in known.dictionary}
    assert fields["values.temperature"].unit == "degC"
    assert (fields["values.cpu"].low, fields["values.cpu"].high) == (0.0, 200.0)


def test_a_window_is_what_its_rows_span() -> None:
    """Event times and offsets, first and last of each partition, beside the query that found them."""
    found = window("recent", RECENT, "SELECT 1\n  FROM events", {"stream": "requests"})
    assert (found.event_from, found.event_to) == (SINCE, SINCE + timedelta(seconds=179))
    assert found.offsets == {"events.raw:0": (5000, 5178), "events.raw:1": (5001, 5179)}
    assert found.query == "SELECT 1 FROM events"
    assert window("recent", []).event_from is None


def test_a_changed_bound_or_seed_begins_a_new_quota(tmp_path: Path) -> None:
    """A larger reservoir fills up again; a smaller one is cut."""
    file = memory_file(tmp_path, "requests")
    for replay, expected in ((80, 100), (40, 50), (160, 200)):
        learn = Learn(replay=replay)
        Memory(file).dataset(learn, FIRST, [], None, Origin())
        assert len(Memory(file).entries) == expected


def test_a_spoilt_memory_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """It is never thrown away in silence: the test would then know what was trained on."""
    file = memory_file(tmp_path, "requests")
    file.parent.mkdir(parents=True)
    file.write_bytes(b'{"sides": 3}')
    with pytest.raises(Fatal, match="move it away"):
        Memory(file)


def test_nothing_is_replayed_where_that_is_asked_for() -> None:
    """`replay = 0` is respected, also when there is something to remember."""
    memory = Memory()
    memory.dataset(LEARN, FIRST, [], None, Origin())
    data = memory.dataset(Learn(replay=0), RECENT, [], SINCE, Origin())
    assert data.old == []
