"""Readings unlike any before: told once, for as many metrics as there are places."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import msgspec

from schemas.clean import Clean
from schemas.config import Stream
from schemas.drift import DriftAlert, Signal
from schemas.record import Coordinates, Kind
from streams.drift.batch import CleanBatch
from streams.drift.watch import DriftWatch

START = datetime(2026, 1, 1, tzinfo=UTC)


class Host:
    """Feeds a watch with readings of one source, in batches of ten."""

    def __init__(self, **novelty: Any) -> None:
        drift = {"input": {"enabled": False}, "cooldown": "1s", "novelty": {"enabled": True, **novelty}}
        self.config = Stream.model_validate({"kind": "sensor", "drift": drift})
        self.watch = DriftWatch("host", self.config)
        self.alerts: list[DriftAlert] = []
        self._random = Random(5)
        self._number = 0

    def feed(self, count: int, *, spike: float = 0.0) -> list[DriftAlert]:
        """Feed readings, `spike` added to the first of them; returns the alerts that this raised."""
        raised = []
        for start in range(0, count, 10):
            events = [self._event(spike if start == n == 0 else 0.0) for n in range(10)]
            batch = CleanBatch("events.clean", 0, range(self._number - 10, self._number), events)
            raised += self.watch.clean(batch, events[-1].time)
        self.alerts += raised
        return raised

    def _event(self, spike: float) -> Clean:
        number, self._number = self._number, self._number + 1
        return Clean(
            stream="host",
            kind=Kind.SENSOR,
            source="web-3",
            id=str(number),
            time=START + timedelta(seconds=number),
            raw=Coordinates("events.raw", 0, number),
            values={"load": 2.0 + self._random.random() + spike, "fans": 4.0},
        )


def test_a_spike_is_told_once_and_ends():
    """Steady readings are left alone; a spike is one alert, with what was before, and its end."""
    host = Host()
    assert host.feed(2000) == []
    (alert,) = host.feed(10, spike=30.0)
    assert (alert.signal, alert.detector) == (Signal.NOVELTY, "value")
    assert alert.evidence["metric"]["reading"] == "load"
    assert len(alert.evidence["before"]) == 64
    assert "'load' of source 'web-3' is new" in alert.summary
    assert alert.runbook == "infra/runbooks/drift-novelty.md"
    (ended,) = host.feed(500)
    assert ended.recovered
    assert ended.evidence["alert"] == alert.id


def test_only_what_is_asked_for_is_watched():
    """A reading that is not named, and one without a place, raise nothing; the latter is counted."""
    for settings in ({"readings": ["fans"]}, {"series": 1, "readings": ["fans", "load"]}):
        host = Host(**settings)
        host.watch.clean(_first_fans(), START)
        host.feed(1000)
        assert host.feed(10, spike=30.0) == []
    assert host.watch.levels(START).counters["metrics_left_out"] == 1010


def _first_fans() -> CleanBatch:
    clean = Clean(
        stream="host",
        kind=Kind.SENSOR,
        source="web-3",
        id="first",
        time=START,
        raw=Coordinates("events.raw", 0, 0),
        values={"fans": 4.0},
    )
    return CleanBatch.of(clean, Coordinates("events.clean", 0, 0))


def test_a_restart_changes_nothing():
    """Restored in the middle of what is new, the same alerts come, and the same memory stays."""
    told = []
    for restarts in (False, True):
        host = Host()
        host.feed(800)
        host.feed(20, spike=30.0)
        if restarts:
            kept = msgspec.msgpack.decode(msgspec.msgpack.encode(host.watch.snapshot()))
            host.watch = DriftWatch("host", host.config)
            host.watch.restore(kept)
        host.feed(500)
        host.feed(50, spike=60.0)
        told.append((host.alerts, host.watch.snapshot()["intake"]["novelty"]))
    assert told[0] == told[1]
    assert [alert.recovered for alert in told[0][0]] == [False, True, False]
