from pathlib import Path

import pytest

from infra.demo.feed import Event, Truth
from infra.demo.plan import ReplaySource
from infra.demo.recording import Recorded, load
from infra.demo.replay import Replay
from schemas.errors import Fatal
from schemas.raw import ApiRequest, LogLine, SensorReading
from schemas.record import Kind


def _loaded(path: Path, content: str, kind: Kind | None = None, **settings: object) -> list[Recorded]:
    path.write_text(content)
    return load(ReplaySource((path,), "s", **settings), kind)  # type: ignore[arg-type]


def test_a_table_of_payloads(tmp_path: Path) -> None:
    """A text column becomes the query of a request, and the usual label column its truth."""
    text = (
        '"payload","length","attack_type","label"\n"a b","3","norm","norm"\n"1\' or 1=1","8","sqli","anom"\n'
    )
    first, second = _loaded(tmp_path / "p.csv", text)
    assert first == Recorded(Kind.API, ApiRequest(method="GET", path="/", query="q=a+b"), "norm")
    assert second.label == "sqli"


def test_a_table_without_header_whose_label_comes_first(tmp_path: Path) -> None:
    """Rows that begin with a word and go on with numbers are readings with the word as label."""
    first, _ = _loaded(tmp_path / "b.dat", "Ethanol,10.0,1.5\nAcetone,20.0,2.5\n")
    assert first == Recorded(Kind.SENSOR, SensorReading(values={"f1": 10.0, "f2": 1.5}), "Ethanol")


def test_a_numeric_table_takes_the_last_column(tmp_path: Path) -> None:
    """Where nothing is named as a label usually is, the last column is the label."""
    first, _ = _loaded(tmp_path / "t.csv", "a,b,outcome\n1,2,0\n3,4,1\n")
    assert first == Recorded(Kind.SENSOR, SensorReading(values={"a": 1.0, "b": 2.0}), "0")


def test_columns_can_be_named_or_numbered(tmp_path: Path) -> None:
    """`--label` and `--text` take a name or a number; for a missing column the error lists them."""
    table = "x,words,kind\n1,hello there,greeting\n2,bye,farewell\n"
    (first, _) = _loaded(tmp_path / "n.csv", table, Kind.LOG, label="2", text="words")
    assert first == Recorded(Kind.LOG, LogLine(message="hello there"), "greeting")
    with pytest.raises(Fatal, match="no column 'nope'; it has: x, words, kind"):
        _loaded(tmp_path / "n.csv", table, label="nope")


def test_json_lines_of_cloudevents_and_bare_payloads(tmp_path: Path) -> None:
    """A line is a CloudEvent or a bare payload, its truth under `label`."""
    text = (
        '{"type":"headrace.sensor.reading.v2","data":{"values":{"t":1}},"label":"ok"}\n'
        '{"method":"GET","path":"/x"}\n'
        '{"message":"started"}\n'
    )
    assert _loaded(tmp_path / "e.jsonl", text) == [
        Recorded(Kind.SENSOR, SensorReading(values={"t": 1}), "ok"),
        Recorded(Kind.API, ApiRequest(method="GET", path="/x")),
        Recorded(Kind.LOG, LogLine(message="started")),
    ]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    """A line that cannot be read is reported with file and number."""
    with pytest.raises(Fatal, match=r"e\.jsonl:2: "):
        _loaded(tmp_path / "e.jsonl", '{"message":"a"}\n{"values":\n')


def test_log_lines_and_several_files(tmp_path: Path) -> None:
    """Any other file is log lines; several files follow one another; the limit cuts."""
    (tmp_path / "a.log").write_text("one\n\ntwo\n")
    (tmp_path / "b.log").write_text("three\nfour\n")
    files = (tmp_path / "a.log", tmp_path / "b.log")
    found = load(ReplaySource(files, "logs", limit=3), Kind.LOG)
    assert [one.data for one in found] == [LogLine(message=text) for text in ("one", "two", "three")]


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    """A file that is not there is an error of its own."""
    with pytest.raises(Fatal, match="is no file"):
        load(ReplaySource((tmp_path / "none.csv",), "s"), None)


def test_a_replay_keeps_order_and_rate() -> None:
    """Events come in order at the rate, each with its label 2 to 4 seconds later; none is left out."""
    recorded = [
        Recorded(Kind.LOG, LogLine(message=str(n)), "even" if n % 2 == 0 else "odd") for n in range(100)
    ]
    replay = Replay(recorded, stream="logs", run="r", rate=50, seed=1)
    items = [item for step in range(30) for item in replay.take(step / 10)] + replay.pending()
    events = [item for item in items if isinstance(item, Event)]
    truths = {item.identity: item for item in items if isinstance(item, Truth)}
    assert [event.data for event in events] == [one.data for one in recorded]
    assert [event.due_s for event in events] == pytest.approx([n / 50 for n in range(100)])
    assert replay.exhausted
    for event in events:
        assert 2.0 <= truths[event.identity].due_s - event.due_s <= 4.0
        assert truths[event.identity].label == event.label
