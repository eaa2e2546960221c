"""The inference handler on batches in memory: order, cache, poison, ledger and take-over."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import TopicPartition

from infra.runtime.clock import ManualClock
from infra.runtime.settings import Endpoints, Settings, parse
from schemas import codec, topics
from schemas.clean import Clean
from schemas.dead import Dead
from schemas.errors import Fatal, Reason, Retryable
from schemas.prediction import Prediction
from schemas.record import Coordinates, Kind, Outgoing
from schemas.release import Swap, Task
from serving.answers import judge
from serving.batching import Policy
from serving.cache import Cache, Local
from serving.consumer import Serving, inference_threads
from serving.follow_releases import ANSWERED, Models, released
from serving.predictor import BadAnswer
from serving.slot import Served
from tests.unit.serving.releases import lay_out, sensor

NOW = datetime(2026, 5, 6, tzinfo=UTC)
PARTITION = TopicPartition("events.clean", 1)
CONFIG = """
[streams.host]
kind = "sensor"
[streams.host.model]
[streams.logs]
kind = "log"
[streams.door]
kind = "sensor"
[streams.door.model]
"""


@dataclass(frozen=True)
class Record:
    """A record as Kafka hands it over."""

    offset: int
    value: bytes | None
    key: bytes | None = b"/host"
    topic: str = PARTITION.topic
    partition: int = PARTITION.partition
    timestamp: int = 0
    headers: Sequence[tuple[str, bytes]] = ()


def event(offset: int, cpu: float = 50.0, stream: str = "host") -> Record:
    """A clean sensor event at an offset."""
    clean = Clean(
        stream=stream,
        kind=Kind.SENSOR,
        source="/host",
        id=f"e{offset}",
        time=NOW,
        raw=Coordinates("events.raw", 0, offset + 1000),
        values={"cpu": cpu},
    )
    return Record(offset, codec.encode(clean))


@pytest.fixture
def models(tmp_path: Path, pool: ThreadPoolExecutor) -> Models:
    """No model loaded yet; nothing here reaches for a broker."""
    settings = Settings(tmp_path, parse(CONFIG, "the test"), Endpoints("", "", ""))
    return Models(settings, pool, clock=ManualClock(NOW), worker="w")


@pytest.fixture
async def handler(models: Models, tmp_path: Path) -> Serving:
    """A handler that owns one partition from offset 5 on."""
    settings = Settings(tmp_path, parse(CONFIG, "the test"), Endpoints("", "", ""))
    made = Serving(settings, models, Cache(Local()), clock=ManualClock(NOW))
    await made.assigned(PARTITION, 5)
    return made


async def serve(models: Models, handler: Serving, root: Path, version: int) -> None:
    """Load a version and let it take over between two batches."""
    assert await models.offer(
        lay_out(root / "releases", sensor(version, Task.ANOMALY), model="host", version=version)
    )
    await handler.between_batches()


def decoded(outputs: Sequence[Outgoing]) -> dict[str, list[Any]]:
    """Sort outputs by topic."""
    contracts: dict[str, Any] = {
        topics.PREDICTIONS.name: Prediction,
        topics.SWAPS.name: Swap,
        topics.DEAD.name: Dead,
    }
    found: dict[str, list[Any]] = {name: [] for name in contracts}
    for output in outputs:
        found[output.topic].append(codec.decode(output.value, contracts[output.topic]))
    return found


async def test_without_a_release_there_is_no_prediction(handler: Serving) -> None:
    """The batch passes, and its position with it."""
    assert list(await handler.process(PARTITION, [event(5), event(6, stream="logs")])) == []
    assert handler.positions() == {"events.clean:1": 7}


async def test_predictions_keep_order_and_name_event_and_model(
    models: Models, handler: Serving, tmp_path: Path
) -> None:
    """One prediction per event of a served stream, keyed by source, with both coordinates."""
    await serve(models, handler, tmp_path, 1)
    records = [event(5), event(6, stream="door"), event(8, 900.0), event(9)]
    outputs = await handler.process(PARTITION, records)
    predictions = decoded(outputs)["predictions"]
    assert [p.event.offset for p in predictions] == [5, 8, 9]
    assert [p.raw.offset for p in predictions] == [1005, 1008, 1009]
    assert [p.label for p in predictions] == ["normal", "anomaly", "normal"]
    assert {(p.model, p.version, p.predicted_at) for p in predictions} == {("host", 1, NOW)}
    assert {o.key for o in outputs if o.topic == "predictions"} == {b"/host"}


async def test_the_ledger_has_each_version_once_per_partition(
    models: Models, handler: Serving, tmp_path: Path
) -> None:
    """The first batch of a version carries its entry, at the first event answered; later ones none."""
    await serve(models, handler, tmp_path, 1)
    first = decoded(await handler.process(PARTITION, [event(5, stream="door"), event(6), event(7)]))
    again = decoded(await handler.process(PARTITION, [event(8)]))
    await serve(models, handler, tmp_path, 2)
    second = decoded(await handler.process(PARTITION, [event(11)]))
    entries = [*first["models.swaps"], *again["models.swaps"], *second["models.swaps"]]
    assert [(s.version, s.first_offsets, s.outcome) for s in entries] == [
        (1, {"events.clean:1": 6}, ANSWERED),
        (2, {"events.clean:1": 11}, ANSWERED),
    ]
    assert [p.version for p in second["predictions"]] == [2]
    await handler.revoked(PARTITION)
    await handler.assigned(PARTITION, 12)
    assert len(decoded(await handler.process(PARTITION, [event(12)]))["models.swaps"]) == 1


async def test_a_poisonous_row_and_a_broken_record_go_to_the_dead_letters(
    models: Models, handler: Serving, tmp_path: Path
) -> None:
    """Both keep their bytes and a reason; every other row is answered as if they were not there."""
    await serve(models, handler, tmp_path, 1)
    records = [event(5), event(6, 1e300), Record(7, b"{"), event(8)]
    found = decoded(await handler.process(PARTITION, records))
    assert [p.event.offset for p in found["predictions"]] == [5, 8]
    dead = {d.reason: d for d in found["events.dead"]}
    assert set(dead) == {Reason.POISON, Reason.MALFORMED_JSON}
    assert dead[Reason.POISON].original == records[1].value
    assert dead[Reason.POISON].raw.offset == 1006
    assert dead[Reason.MALFORMED_JSON].raw == Coordinates("events.clean", 1, 7)


async def test_a_model_that_breaks_in_service_blames_no_row(
    models: Models, handler: Serving, tmp_path: Path
) -> None:
    """Rows fail, golden inputs fail too: the batch is tried again later instead of being thrown away."""
    await serve(models, handler, tmp_path, 1)
    sound = models.current("host")
    assert sound is not None
    broken = Served(sound.release, Broken(), sound.rows, sound.expected, sound.tolerance, 0.0)
    with pytest.raises(Retryable, match="golden"):
        judge(broken, [{"cpu": 1.0}])


class Broken:
    """A predictor whose session has died."""

    family = "sensor"
    policy = Policy.SINGLE
    provider = "none"
    tolerance: float | None = None

    def predict(self, rows):
        """Answer nothing."""
        raise BadAnswer("an output is not a finite number")


def test_rejections_and_foreign_keys_announce_nothing(tmp_path: Path) -> None:
    """Only a released record under its model's own key is served; broken ones are skipped."""
    release = lay_out(tmp_path, sensor(1, Task.ANOMALY), model="host", version=1)
    payload = codec.encode(release)
    assert released(Record(0, payload, key=b"host")) == release
    assert released(Record(0, payload, key=b"host/1")) is None
    assert released(Record(0, payload.replace(b'"released"', b'"rejected"'), key=b"host")) is None
    assert released(Record(0, b"{", key=b"host")) is None
    assert released(Record(0, None, key=b"host")) is None


def test_the_number_of_threads_is_a_setting() -> None:
    """Two by default; nonsense is refused with the variable's name."""
    assert inference_threads({}) == 2
    assert inference_threads({"HEADRACE_INFERENCE_THREADS": "4"}) == 4
    with pytest.raises(Fatal, match="HEADRACE_INFERENCE_THREADS"):
        inference_threads({"HEADRACE_INFERENCE_THREADS": "many"})
