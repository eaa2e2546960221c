"""This machine's readings, and lines of a folder, as events."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from schemas.envelope import decode_event
from schemas.raw import SensorReading
from streams.sources.host import HostSource, Rates
from streams.sources.logs import LogSource

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)


def test_readings_are_real_and_keep_the_contract():
    """A reading decodes, and its values are this machine's."""
    source = HostSource("host", "box")
    records = [source.read(NOW + timedelta(seconds=n), 1.0 + n) for n in range(3)]
    event = decode_event(records[-1].value, (), max_bytes=10_000)
    assert (event.source, event.stream) == ("host/box", "host")
    assert isinstance(event.data, SensorReading)
    assert 0 < float(event.data.values["memory_percent"] or 0) <= 100
    assert event.data.values["context_switches_per_s"] is not None
    assert records[0].key == b"host/box"


def test_ids_are_unique_and_ordered_even_if_the_clock_goes_back():
    """Ids grow, whatever the clock does."""
    source = HostSource("host", "box")
    moments = [NOW, NOW, NOW - timedelta(hours=1), NOW + timedelta(seconds=1)]
    ids = [json.loads(source.read(moment, n + 1.0).value)["id"] for n, moment in enumerate(moments)]
    assert ids == sorted(set(ids))


def test_rates():
    """A rate needs two looks, and a counter that was reset starts anew."""
    rates = Rates()
    assert rates.update("a", 100, 1.0) is None
    assert rates.update("a", 150, 3.0) == 25
    assert rates.update("a", 10, 4.0) is None
    assert rates.update("a", 11, 4.0) is None


def test_log_lines_become_events_with_lasting_ids(tmp_path: Path):
    """Lines of all files but the one left out, debug lines skipped, ids the same when read again."""
    (tmp_path / "a.log").write_bytes(b'one\n{"event": "noise", "level": "debug"}\n\ntwo \xff\n')
    (tmp_path / "sources.log").write_bytes(b"mine\n")

    def events() -> list[dict[str, object]]:
        source = LogSource("logs", tmp_path, {}, leave_out=["sources.log"], host="box")
        records = source.poll(NOW)
        source.close()
        for record in records:
            decode_event(record.value, (), max_bytes=10_000)
        return [json.loads(record.value) for record in records]

    found = events()
    assert [event["data"]["message"] for event in found] == ["one", "two \\xff"]  # type: ignore[index]
    assert {event["source"] for event in found} == {"log/box/a.log"}
    assert [event["id"] for event in events()] == [event["id"] for event in found]


def test_a_file_gives_no_more_than_its_share(tmp_path: Path):
    """A flood in one file is taken bit by bit, and the marks tell how far."""
    (tmp_path / "a.log").write_bytes(b"line\n" * 50)
    source = LogSource("logs", tmp_path, {}, lines_per_poll=20, host="box")
    assert [len(source.poll(NOW)) for _ in range(4)] == [20, 20, 10, 0]
    assert source.marks()[str(tmp_path / "a.log")].position == 250
    source.close()
