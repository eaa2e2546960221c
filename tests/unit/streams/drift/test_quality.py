"""Quality of what comes in: ratios, fields and silence; steady streams are quiet."""

import json
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from schemas.clean import Clean, Flags
from schemas.config import QualityDrift, Stream
from schemas.copies import Copies
from schemas.dead import Dead
from schemas.drift import DriftAlert, Severity, Signal
from schemas.errors import Reason
from schemas.record import Coordinates, Kind
from streams.drift.batch import CleanBatch
from streams.drift.quality import QualityWatch
from streams.drift.ratios import Worse
from streams.drift.silence import SilenceWatch
from streams.drift.watch import DriftWatch

START = datetime(2026, 3, 14, tzinfo=UTC)
USUAL = {"temp": 1.0, "bar": 2.0}


def clean(number: int, values: dict[str, float] = USUAL, **flags: Any) -> tuple[Clean, Coordinates]:
    """Return an accepted event and its place."""
    place = Coordinates("events.clean", 0, number)
    made = Clean(
        stream="host",
        kind=Kind.SENSOR,
        source="press",
        id=str(number),
        time=START + timedelta(seconds=number),
        raw=place,
        values=values,
        flags=Flags(**flags),
    )
    return made, place


def dead(number: int, reason: Reason = Reason.WRONG_TYPE) -> Dead:
    """Return a rejected event."""
    return Dead(
        reason=reason,
        message="no number",
        stage="clean",
        raw=Coordinates("events.raw", 0, number),
        rejected_at=START + timedelta(seconds=number),
        stream="host",
        source="press",
        id=str(number),
        original=b"",
    )


def feed(
    watch: QualityWatch, random: Random, count: int, first: int, *, rejects: float = 0.02, **event: Any
) -> list[Worse]:
    """Feed a share of rejected events among accepted ones; one in fifty lacks a reading."""
    found: list[Worse] = []
    for number in range(first, first + count):
        if random.random() < rejects:
            found += watch.rejected(dead(number))
        else:
            flags = {"imputed": ("bar",)} if random.random() < 0.02 else {}
            found += watch.accepted(CleanBatch.of(*clean(number, **{**flags, **event})))
    return found


def test_a_steady_stream_is_quiet():
    """A hundred thousand events of one quality raise nothing."""
    watch = QualityWatch(QualityDrift(), 2)
    assert feed(watch, Random(1), 100_000, 0) == []
    assert watch.readiness == 1.0
    assert watch.quiet == 100_000 // 500 - 8


@pytest.mark.parametrize(
    ("ratio", "change"),
    [
        ("rejected", {"rejects": 0.2}),
        ("missing", {"imputed": ("temp",)}),
        ("outlier", {"outlier": ("temp",)}),
        ("repaired", {"repaired": ("temp",)}),
        ("late", {"late": True}),
        ("new_field", {"values": {**USUAL, "humidity": 3.0}}),
        ("absent_field", {"values": {"temp": 1.0}}),
    ],
)
def test_each_ratio_is_noticed_with_what_is_to_be_said_of_it(ratio, change):
    """After two blocks, from where to where, since when, with the reasons or fields concerned."""
    watch, random = QualityWatch(QualityDrift(), 2), Random(2)
    assert feed(watch, random, 6_000, 0) == []
    found = feed(watch, random, 1_000, 6_000, **change)
    (worse,) = found
    assert worse.ratio == ratio
    assert worse.before <= 0.03
    assert worse.before + 0.015 < worse.threshold < worse.after
    assert abs(worse.since - (START.timestamp() + 6_000)) <= 1
    named = {"rejected": "wrong_type", "new_field": "humidity", "absent_field": "bar", "late": None}
    expected = named.get(ratio, "temp")
    assert expected is None or expected in worse.details
    assert worse.examples


def test_a_restart_neither_forgets_nor_cries():
    """Through JSON and back between two blocks, what follows is found alike."""
    watch, random = QualityWatch(QualityDrift(), 2), Random(3)
    feed(watch, random, 6_000, 0)
    copy = QualityWatch(QualityDrift(), 2)
    copy.restore(json.loads(json.dumps(watch.snapshot())))
    state = random.getstate()
    expected = feed(watch, random, 1_500, 6_000, rejects=0.3)
    random.setstate(state)
    assert feed(copy, random, 1_500, 6_000, rejects=0.3) == expected != []


def test_the_longest_silent_are_named_and_the_gone_forgotten():
    """Silence counts from the last event; ten times as long means gone; without a limit nobody is silent."""
    watch = SilenceWatch(10.0)
    for source, at in (("a", 0.0), ("b", 5.0), ("a", 7.0)):
        watch.seen(source, at)
    assert watch.silent(14.0) == []
    assert watch.silent(18.0) == [("b", 5.0), ("a", 7.0)]
    copy = SilenceWatch(10.0)
    copy.restore(json.loads(json.dumps(watch.snapshot())))
    assert copy.silent(18.0) == [("b", 5.0), ("a", 7.0)]
    assert watch.silent(106.0) == [("a", 7.0)]
    endless = SilenceWatch(0.0)
    endless.seen("a", 0.0)
    assert endless.silent(1e9) == []


def test_the_stream_is_told_and_told_when_it_is_over():
    """Quality and silence each have an alert of their own signal, a runbook, and an end."""
    drift = {"quality": {"silence": "60s"}, "input": {"enabled": False}}
    watch, random = DriftWatch("host", Stream.model_validate({"kind": "sensor", "drift": drift})), Random(4)
    alerts: list[DriftAlert] = []
    number = 0

    def go(count: int, rejects: float) -> None:
        nonlocal number
        for _ in range(count):
            now = START + timedelta(seconds=number)
            if random.random() < rejects:
                alerts.extend(watch.rejected(dead(number), now))
            else:
                alerts.extend(watch.clean(CleanBatch.of(*clean(number)), now))
            number += 1

    go(5_000, 0.02)
    assert alerts == []
    go(1_200, 0.7)
    go(1_600, 0.02)
    raised, over = alerts
    assert (raised.signal, raised.severity) == (Signal.QUALITY, Severity.CRITICAL)
    assert "of the events are rejected" in raised.summary and "wrong_type" in raised.summary
    assert raised.runbook == "infra/runbooks/drift-quality.md"
    assert over.recovered and over.evidence["alert"] == raised.id
    alerts.clear()
    assert watch.tick(START + timedelta(seconds=number + 30)) == []
    (silent,) = watch.tick(START + timedelta(seconds=number + 90))
    assert silent.signal is Signal.SILENCE and "'press' sent nothing since" in silent.summary
    assert watch.tick(START + timedelta(seconds=number + 95)) == []
    number += 100
    go(1, 0.0)
    (back,) = watch.tick(START + timedelta(seconds=number))
    assert back.recovered and back.signal is Signal.SILENCE
    assert {level.signal for level in watch.levels(START).levels} == {Signal.QUALITY}


def test_more_copies_than_before_are_told_and_forgotten_again():
    """From one copy in fifty to one in five: one alert, and its end once a publisher is mended."""
    watch = DriftWatch("host", Stream.model_validate({"kind": "sensor", "drift": {"cooldown": "1s"}}))
    random, alerts = Random(4), []

    def go(batches: int, share: float) -> None:
        for number in range(batches):
            dropped = sum(random.random() < share for _ in range(100))
            copies = Copies(stream="host", partition=0, accepted=100 - dropped, dropped=dropped, at=START)
            alerts.extend(watch.dropped(copies, Coordinates("events.copies", 0, number), START))

    go(200, 0.02)
    assert alerts == []
    go(20, 0.2)
    (alert,) = alerts
    assert (alert.signal, alert.detector) == (Signal.QUALITY, "duplicate")
    assert "of what is sent are copies" in alert.summary
    go(40, 0.02)
    assert [one.recovered for one in alerts] == [False, True]
