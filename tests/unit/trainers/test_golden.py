"""The golden set is drawn once, balanced, kept as it was, and never trained on."""

from pathlib import Path

import msgspec
import pytest

from schemas.config import Stream
from schemas.errors import Fatal
from tests.unit.trainers import samples
from trainers import golden
from trainers.dataset import from_memory
from trainers.outcome import Job
from trainers.pipeline import train


def test_a_set_is_drawn_from_held_out_rows_with_labels_by_turns(tmp_path: Path) -> None:
    """Nothing of it was trained on, a rare label has its share, and it comes back as it was."""
    data = from_memory(samples.requests(1, normal=400, sqli=60))
    drawn = golden.draw(tmp_path, "requests", data, 20)
    assert drawn is not None and len(drawn.rows) == 20
    assert not {row.id for row in drawn.rows} & {row.id for row in data.training}
    assert {row.label for row in drawn.rows[:2]} == {"normal", "sqli"}
    assert 8 <= sum(row.label == "sqli" for row in drawn.rows) <= 12
    assert golden.load(tmp_path, "requests") == drawn
    assert golden.load(tmp_path, "other") is None
    assert golden.draw(tmp_path, "none", data, 0) is None


def test_the_version_is_the_contents(tmp_path: Path) -> None:
    """The same rows have the same version, a changed label another, and a changed file is refused."""
    data = from_memory(samples.requests(1, normal=100, sqli=100))
    drawn = golden.draw(tmp_path, "requests", data, 30)
    assert drawn is not None
    assert golden.version_of(golden.by_turns(list(reversed(data.recent_held_out)), 30)) == drawn.version
    rows = [msgspec.structs.replace(drawn.rows[0], label="xss"), *drawn.rows[1:]]
    assert golden.version_of(rows) != drawn.version
    path = golden.path_of(tmp_path, "requests")
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(drawn, rows=rows)))
    with pytest.raises(Fatal, match="was changed since it was drawn"):
        golden.load(tmp_path, "requests")
    path.write_text("{}")
    with pytest.raises(Fatal, match="is no golden set"):
        golden.load(tmp_path, "requests")


def test_golden_rows_are_taken_out_of_training() -> None:
    """Rows that another split would train on are left out when they are golden."""
    data = from_memory(samples.requests(1, normal=100, sqli=100))
    kept = golden.Golden(version="", rows=[*data.recent[:5], *data.recent_held_out[:5]])
    left = golden.without(data, kept)
    assert left.recent == data.recent[5:]
    assert left.recent_held_out == data.recent_held_out
    assert golden.without(data, None) is data


def test_a_set_of_a_world_that_is_gone_is_drawn_anew(tmp_path: Path) -> None:
    """Where the states are called the other way round now, the next release draws another."""
    stream = Stream.model_validate({"kind": "sensor", "model": {}, "gate": {"p99_ms": 500}})
    old = samples.readings(1, 400)
    renamed = {"busy": "idle", "idle": "busy"}
    recent = [(event, renamed[label]) for event, label in samples.readings(2, 400, after_s=1000)]
    job = Job(home=str(tmp_path), stream="host", config=stream.model_dump_json(), run=str(tmp_path))
    first = train(job, from_memory(old))
    before = golden.load(tmp_path, "host")
    second = train(msgspec.structs.replace(job, champion=first.release), from_memory(recent, old[:100]))
    assert first.released and second.released, second.reasons
    assert "golden_accuracy" not in second.metrics
    after = golden.load(tmp_path, "host")
    assert before is not None and after is not None and before.version != after.version
    assert {row.id for row in after.rows} & {event.id for event, _ in recent}
    third = train(
        msgspec.structs.replace(job, champion=second.release),
        from_memory([(event, renamed[label]) for event, label in samples.readings(3, 400, after_s=2000)]),
    )
    assert third.metrics["golden_accuracy"] > 0.9
    assert golden.load(tmp_path, "host") == after
