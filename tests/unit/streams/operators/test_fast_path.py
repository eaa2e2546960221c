"""The fast path against the operators in Python: the same outputs byte for byte, whatever comes."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.runtime.kafka.partitioner import partition_of
from schemas import topics
from schemas.cleaning import Cleaning, Dedupe
from schemas.config import Stream
from schemas.record import Kind, Outgoing
from streams.engines.memory import MemoryRecord
from streams.operators.batch import Batch
from streams.operators.fast_path import SensorPath
from streams.operators.home import Home
from streams.operators.pipeline import CleanPipeline
from tests.data import data_folder

NOW = datetime(2026, 3, 14, 9, 27, tzinfo=UTC)
ELSEWHERE = timezone(timedelta(hours=5, minutes=45))
STREAMS = {
    "requests": Stream(kind=Kind.API),
    "host": Stream(kind=Kind.SENSOR),
    "press": Stream(
        kind=Kind.SENSOR,
        clean=Cleaning(ranges={"a": (-50, 50)}, outlier_method="z", units={"b": "degC"}, max_bytes=400),
        dedupe=Dedupe(rekey="always"),
    ),
    "plain": Stream(
        kind=Kind.SENSOR,
        clean=Cleaning(outliers="off", missing="drop"),
        dedupe=Dedupe(rekey="never"),
    ),
    "iqr": Stream(kind=Kind.SENSOR, clean=Cleaning(outliers="clip", outlier_method="iqr")),
    "windows": Stream(kind=Kind.SENSOR, clean=Cleaning(window=3)),
}


def event(id: str, source: str, values: Any, **attributes: Any) -> dict[str, Any]:
    """Make a sensor event."""
    made = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": "headrace.sensor.reading.v2",
        "time": "2026-03-14T09:26:53.250Z",
        "data": {"values": values},
    }
    return {**made, **attributes}


def record(value: bytes | None, offset: int = 0, headers: Sequence[tuple[str, bytes]] = ()) -> MemoryRecord:
    """Make an incoming record of partition 1."""
    return MemoryRecord("events.raw", 1, offset, 1_773_480_413_000, b"key", value, headers)


def both(
    batches: Sequence[Sequence[MemoryRecord]], home: Home | None = None
) -> tuple[list[Batch], list[Batch]]:
    """Clean batches with and without the fast path, one second apart."""
    fast, slow = (CleanPipeline(STREAMS, home, fast=fast) for fast in (True, False))
    moments = [NOW + timedelta(seconds=at) for at in range(len(batches))]
    cleaned = [
        [pipeline.process(records, now) for records, now in zip(batches, moments, strict=True)]
        for pipeline in (fast, slow)
    ]
    histories = [
        {name: cleaner.normalise.history.snapshot() for name, cleaner in pipeline._cleaners.items()}
        for pipeline in (fast, slow)
    ]
    assert histories[0] == histories[1]
    return cleaned[0], cleaned[1]


def ordered(batch: Batch) -> list[Outgoing]:
    """Return a batch's outputs in an order of their own where the topics' is not promised."""
    clean = [out for out in batch.outgoing if out.topic == topics.CLEAN.name]
    return clean + sorted(out for out in batch.outgoing if out.topic != topics.CLEAN.name)


def assert_alike(batches: Sequence[Sequence[MemoryRecord]], home: Home | None = None) -> list[Batch]:
    """Clean batches both ways, and compare everything that comes of it."""
    fast, slow = both(batches, home)
    for one, other in zip(fast, slow, strict=True):
        assert ordered(one) == ordered(other)
        assert one.by_stream == other.by_stream
        assert one.forwarded == other.forwarded
    return fast


def steady(count: int, source: str = "press-1", name: str = "a") -> list[dict[str, Any]]:
    """Return events with readings that vary a little."""
    return [event(f"{source}-{at}", source, {name: 10 + at % 7 / 8}) for at in range(count)]


def encoded(events: Sequence[Any]) -> list[MemoryRecord]:
    """Make the records of a partition."""
    return [record(json.dumps(one).encode(), at) for at, one in enumerate(events)]


def written(moment: datetime) -> str:
    """Return a time in UTC as most publishers write it."""
    return moment.isoformat().removesuffix("+00:00") + "Z"


_names = st.sampled_from(["a", "b", "ab", "ü", "", "a b", "x" * 129])
_numbers = st.one_of(
    st.integers(-20, 20),
    st.integers(),
    st.floats(-20, 20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e-3, 9.99e-4, 1e15, 1e16, 123456789012345.6, 0.1, 1e300, 5e-324]),
)
_readings = st.dictionaries(
    _names, st.one_of(_numbers, _numbers, _numbers, st.none(), st.just("7.5"), st.just("n/a")), max_size=4
)
_times = st.one_of(
    st.just("2026-03-14T09:26:53Z"),
    st.integers(-9_000_000_000, 4_400_000_000).map(lambda us: written(NOW + timedelta(microseconds=us))),
    st.integers(-3_600_000, 3_600_000).map(
        lambda ms: (NOW + timedelta(milliseconds=ms)).astimezone(ELSEWHERE).isoformat(timespec="milliseconds")
    ),
    st.sampled_from(
        [
            "2026-03-14T09:26:53.123456789Z",
            "2026-03-14T09:26:60Z",
            "2026-02-29T00:00:00Z",
            "2026-03-14T24:00:00Z",
            "2026-03-14T09:26:53",
            "2026-03-14t09:26:53Z",
            "2026-03-14T09:26:53,5Z",
            "2026-03-14T09:26:53.Z",
            "1969-12-31T23:59:59Z",
            "2026-03-14T10:26:53+0100",
            "2026-03-14T09:26:53-23:59",
            "1773480413",
            "",
            None,
            17,
        ]
    ),
)
_texts = st.sampled_from(["1", "2", "3", "press-1", "prüfstand", 'a"b', "tab\there", "", "x" * 700, "\x7f"])
_events = st.builds(
    event,
    _texts,
    st.sampled_from(["press-1", "press-1", "press-2", "prüfstand", "q\\uote", ""]),
    _readings,
    time=_times,
    stream=st.sampled_from(
        ["", "host", "host", "press", "plain", "iqr", "windows", "requests", "none", None]
    ),
    type=st.sampled_from(["headrace.sensor.reading.v2"] * 5 + ["headrace.sensor.reading.v1", "x", 1]),
    specversion=st.sampled_from(["1.0"] * 9 + ["0.3"]),
)
_more = st.dictionaries(
    st.sampled_from(["subject", "traceparent", "extension", "datacontenttype", "sp\\u0061n"]),
    st.one_of(
        st.none(), st.text(max_size=5), st.integers(), st.floats(-1, 1), st.lists(st.integers(), max_size=2)
    ),
    max_size=2,
)
_headers = st.sampled_from(
    [
        (),
        (),
        (),
        (("content-type", b"application/cloudevents+json; charset=UTF-8"),),
        (("Content-Type", b"application/cloudevents-batch+json"),),
        (("content-type", b"application/json"), ("trace", b"1")),
        (("ce_id", b"1"), ("ce_source", b"s")),
        (("CE_id", b"1"),),
        (("content-type", b""), ("ce_id", b"9")),
    ]
)
_spaces = st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", "\t:\r")])


@st.composite
def _records(draw: st.DrawFn) -> MemoryRecord:
    document = {**draw(_events), **draw(_more)}
    if draw(st.integers(0, 9)) == 0:
        document["data"]["units"] = draw(st.sampled_from([{}, {"a": "degF"}, {"b": "degF"}, {"c": 1}]))
    separators = draw(_spaces)
    text = json.dumps(document, ensure_ascii=draw(st.booleans()), separators=separators)
    damage = draw(st.integers(0, 19))
    if damage == 0:
        text = text[: draw(st.integers(0, len(text)))]
    elif damage == 1:
        text = text.replace('"id"', '"id":"9","id"', 1)
    elif damage == 2:
        text = draw(st.sampled_from([" ", "\ufeff", "["])) + text + draw(st.sampled_from([" \n", "x", "\0"]))
    elif damage == 3:
        text = text.replace("1", "01").replace(".", "")
    return record(text.encode("utf-8", "surrogatepass"), 0, draw(_headers))


@settings(max_examples=400)
@given(
    st.lists(st.lists(_records(), max_size=12), min_size=1, max_size=3),
    st.sampled_from([None, Home(2, lambda *_: 1), Home(3, partition_of)]),
)
def test_whatever_comes_both_ways_agree(batches, home):
    """Outputs, counts, forwards and histories are the same for sound, odd and broken events in any order."""
    assert_alike(batches, home)


@pytest.mark.parametrize("stream", ["host", "press", "plain", "iqr", "windows"])
def test_a_long_run_is_alike_through_every_renewal_of_the_limits(stream):
    """Limits are renewed, outliers flagged or clipped and duplicates dropped at the same events."""
    events = [{**one, "stream": stream} for one in steady(900)]
    for at in range(40, 900, 97):
        events[at]["data"]["values"]["a"] = 49.5
    for at in range(100, 900, 50):
        events[at] = events[at - 60]
    events[300] = {**events[300], "time": "2026-03-14T06:00:00Z"}
    records = encoded(events)
    batches = assert_alike([records[:333], records[333:334], records[334:]])
    assert sum(batch.duplicates for batch in batches) == 16
    assert len(batches[0].outgoing) > 300


def test_a_window_of_one_value_is_judged_by_its_mean_deviation():
    """Where the MAD is 0, native code leaves the limits to Python, and both ways agree."""
    events = [event(str(at), "s", {"a": 1.0 if at % 16 else 2.0}) for at in range(400)]
    assert_alike([encoded(events)])


def test_most_plain_events_are_plain():
    """After the first event of a source nothing of a steady stream is left to Python."""
    pipeline = CleanPipeline(STREAMS)
    pipeline.process(encoded(steady(2)), NOW)
    path = pipeline._fast
    assert path is not None
    block, parsed = path.parse(encoded(steady(200)[2:]), 1)
    assert parsed.others == []
    assert path.clean(parsed, 0, Batch().outgoing.packed) == len(block) == 198


def test_streams_without_plain_sensor_readings_have_no_fast_path():
    """Requests, logs, and sensors with count windows are Python's."""
    streams = {"requests": STREAMS["requests"], "windows": STREAMS["windows"]}
    assert CleanPipeline(streams)._fast is None
    assert SensorPath.of([], None) is None


def test_the_order_of_a_source_is_kept_across_both_ways():
    """An odd event between plain ones comes out between them."""
    events = steady(30)
    events[20]["data"]["values"]["a"] = "10.5"
    events[25]["id"] = 'with "quotes"'
    (batch,) = assert_alike([encoded(events)])
    offsets = [json.loads(out.value)["raw"]["offset"] for out in batch.outgoing if out.key == b"press-1"]
    assert offsets == list(range(30))


def test_real_readings_are_alike():
    """Machine metrics and a gas sensor array, with their real jumps and gaps."""
    files = sorted((data_folder() / "nab" / "data").rglob("*.csv"))
    events: list[dict[str, Any]] = []
    for at, path in enumerate(files[:6]):
        for line in path.read_text().splitlines()[1:700]:
            _, value = line.split(",")
            events.append(event(f"{at}-{len(events)}", f"machine-{at}", {"load": float(value)}))
    for line in (data_folder() / "gas_sensor_drift" / "batch1.dat").read_text().splitlines()[:120]:
        features = [float(field) for field in line.split(",")[2:]]
        values = {f"f{number}": feature for number, feature in enumerate(features[:60])}
        events.append(event(f"gas-{len(events)}", "array", values))
    records = encoded(events)
    assert_alike([records[at : at + 500] for at in range(0, len(records), 500)])
