"""The drift watch of one stream: what it raises, what it does not, and that it remembers."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from schemas.drift import Response, Severity, Signal
from schemas.label import Label
from schemas.record import Coordinates
from schemas.release import Swap
from streams.drift.watch import DriftWatch
from tests.unit.streams.drift.traffic import START, Traffic, at, config


def test_a_steady_stream_raises_nothing() -> None:
    """20,000 steady events with 2 % errors raise no alert of any signal."""
    traffic = Traffic(DriftWatch("requests", config()))
    assert traffic.feed(20_000) == []


def test_a_rise_of_errors_is_one_alert_that_asks_for_teaching() -> None:
    """New errors raise one alert, with when it began (rather early), what is wrong and a runbook."""
    traffic = Traffic(DriftWatch("requests", config(input={"enabled": False}, prediction={"enabled": False})))
    traffic.feed(3000)
    (alert,) = traffic.feed(1000, wrong=0.4)
    assert (alert.signal, alert.response, alert.severity) == (
        Signal.ERROR,
        Response.INCREMENT,
        Severity.CRITICAL,
    )
    assert at(3000) - timedelta(seconds=2) <= alert.since <= at(3000) + timedelta(seconds=0.1)
    assert alert.window_to <= at(3200)
    assert alert.statistic > alert.threshold
    assert alert.evidence["examples"][0]["predicted"] != alert.evidence["examples"][0]["truth"]
    assert alert.runbook == "infra/runbooks/drift-error.md"
    assert "error rate rose from" in alert.summary


def test_an_input_drift_names_the_features_and_examples() -> None:
    """Payloads of a new kind move text features, without any label."""
    traffic = Traffic(DriftWatch("requests", config()))
    traffic.feed(4000, labelled=False)
    (alert,) = traffic.feed(3000, odd=0.3, labelled=False)
    assert (alert.signal, alert.response) == (Signal.INPUT, Response.ALERT)
    assert {"brackets", "new_symbols"} & {f["feature"] for f in alert.evidence["features"]}
    assert len(alert.evidence["examples"]) == 5
    assert at(3400) <= alert.since <= at(4600)


def test_an_error_alert_is_not_swallowed_by_an_input_alert() -> None:
    """Within the cooldown of a notice, an error drift is still raised, and names the cause it belongs to."""
    traffic = Traffic(DriftWatch("requests", config(cooldown="10m")))
    traffic.feed(4000)
    first = traffic.feed(2500, odd=0.3)
    second = traffic.feed(1000, odd=0.3, wrong=0.5)
    assert [alert.signal for alert in first] == [Signal.INPUT]
    assert [alert.signal for alert in second] == [Signal.ERROR]
    assert second[0].evidence["cause"] == first[0].id


def test_signals_of_one_cause_are_one_alert() -> None:
    """After the error alert, input drift of the same cause is counted with it and not raised."""
    traffic = Traffic(DriftWatch("requests", config(cooldown="10m")))
    traffic.feed(4000)
    alerts = traffic.feed(4000, odd=0.3, wrong=0.5)
    assert [alert.signal for alert in alerts] == [Signal.ERROR]
    assert traffic.watch.levels(START).counters["grouped"] >= 1


def test_a_new_version_starts_anew_and_recovery_is_told() -> None:
    """After the swap the old version's errors do not count, and a good new version ends the drift."""
    traffic = Traffic(DriftWatch("requests", config(input={"enabled": False})))
    traffic.feed(3000)
    (raised,) = traffic.feed(1000, wrong=0.4)
    traffic.version = 2
    (ended,) = traffic.feed(1000)
    assert ended.recovered
    assert ended.response is Response.ALERT
    assert ended.version == 2
    assert ended.evidence["alert"] == raised.id
    assert traffic.feed(3000) == []


def test_a_new_version_that_does_not_help_is_raised_once_more() -> None:
    """A version that took over and still errs far above the old level asks for teaching again, once."""
    traffic = Traffic(DriftWatch("requests", config(input={"enabled": False})))
    traffic.feed(3000)
    traffic.feed(1000, wrong=0.4)
    traffic.version = 2
    (again,) = traffic.feed(3000, wrong=0.35)
    assert (again.version, again.detector, again.response) == (2, "baseline", Response.INCREMENT)


def test_labels_of_an_older_version_do_not_count() -> None:
    """Late labels that say how wrong the old version was raise nothing against the new one."""
    watch = DriftWatch("requests", config(input={"enabled": False}))
    traffic = Traffic(watch)
    traffic.feed(1000)
    place = Coordinates("events.clean", 0, 1)
    for number in range(500):
        watch.predicted([traffic.prediction(f"old-{number}", at(1000), "norm", place)], at(1000))
    traffic.version = 2
    traffic.feed(500)
    late = [
        watch.labelled(
            [Label(stream="requests", source="shop", id=f"old-{n}", label="sqli", labelled_at=at(1500))],
            at(1500),
        )
        for n in range(500)
    ]
    assert not any(late)
    assert watch.levels(START).counters["stale"] == 500


def test_a_rollback_goes_back_to_the_older_version() -> None:
    """A swap to a lower version is adopted; predictions by the version left are stale."""
    watch = DriftWatch("requests", config())
    traffic = Traffic(watch)
    traffic.version = 3
    traffic.feed(200)
    watch.swapped(
        Swap(
            model="requests",
            stream="requests",
            version=2,
            sha256="",
            worker="w",
            first_offsets={},
            swapped_at=at(200),
            outcome="rolled_back",
        )
    )
    traffic.version = 2
    traffic.feed(150)
    levels = watch.levels(START)
    assert levels.version == 2
    assert levels.levels[0].observations == 150


def test_a_snapshot_changes_nothing() -> None:
    """A watch that went through a checkpoint again and again raises the same alerts, to the byte."""
    straight, interrupted = (
        Traffic(DriftWatch("requests", config())),
        Traffic(DriftWatch("requests", config())),
    )
    for wrong, odd in [(0.02, 0.0)] * 8 + [(0.4, 0.3)] * 6 + [(0.02, 0.3)] * 6:
        straight.feed(500, wrong=wrong, odd=odd)
        interrupted.feed(500, wrong=wrong, odd=odd)
        kept = msgspec.msgpack.encode(interrupted.watch.snapshot())
        interrupted.watch = DriftWatch("requests", config())
        interrupted.watch.restore(msgspec.msgpack.decode(kept))
    assert straight.alerts
    assert straight.alerts == interrupted.alerts


def test_a_watch_without_memory_does_not_cry_again() -> None:
    """A watch that only knows the alerts on the topic raises none of those that stand."""
    first = Traffic(DriftWatch("requests", config(cooldown="10m")))
    first.feed(4000)
    alerts = first.feed(3000, odd=0.3, wrong=0.5)
    assert len(alerts) == 1
    fresh = DriftWatch("requests", config(cooldown="10m"))
    for alert in alerts:
        fresh.seen(alert)
    second = Traffic(fresh)
    second.feed(4000)
    assert second.feed(2000, odd=0.3, wrong=0.5) == []


def test_wrong_clocks_do_not_blind_the_watch() -> None:
    """One event in a hundred an hour ahead neither raises an alert nor hides a drift."""
    watch = DriftWatch("requests", config())
    traffic = Traffic(watch)
    plain = watch.clean

    def skewed(batch, now):
        (clean,) = batch.events
        ahead = timedelta(hours=1) if int(clean.id) % 100 == 0 else timedelta()
        return plain(replace(batch, events=[msgspec.structs.replace(clean, time=clean.time + ahead)]), now)

    watch.clean = skewed  # type: ignore[method-assign]  # the traffic's clock is what this test is about
    assert traffic.feed(6000, labelled=False) == []
    assert [a.signal for a in traffic.feed(4000, odd=0.3, labelled=False)] == [Signal.INPUT]


@pytest.mark.parametrize("at_once", [7, 100, 400])
def test_how_events_are_cut_into_batches_decides_nothing(at_once: int) -> None:
    """In batches of any size a watch raises the same alerts as one by one, of the same events."""
    told = []
    for size in (1, at_once):
        traffic = Traffic(DriftWatch("requests", config(cooldown="1s")))
        traffic.feed(5000, at_once=size)
        traffic.feed(1500, odd=0.3, wrong=0.4, at_once=size)
        signals = [(alert.signal, alert.recovered) for alert in traffic.alerts]
        first = {alert.signal: alert.since.timestamp() for alert in reversed(traffic.alerts)}
        told.append((signals, first, traffic.watch.levels(START).counters))
    (signals, first, counters), (signals_at_once, first_at_once, counters_at_once) = told
    assert sorted(signals) == sorted(signals_at_once)
    assert first == pytest.approx(first_at_once, abs=1.0)
    assert counters == counters_at_once


def test_levels_say_how_near() -> None:
    """Levels name every signal, with readiness until the references are there, then what stands."""
    traffic = Traffic(DriftWatch("requests", config()))
    traffic.feed(500)
    early = {level.signal: level for level in traffic.watch.levels(START).levels}
    assert set(early) == {Signal.ERROR, Signal.INPUT, Signal.PREDICTION, Signal.ESTIMATE, Signal.QUALITY}
    assert early[Signal.INPUT].readiness < 1.0
    traffic.feed(4000)
    traffic.feed(600, wrong=0.5)
    levels = traffic.watch.levels(START)
    late = {level.signal: level for level in levels.levels}
    assert late[Signal.ERROR].active == traffic.alerts[0].id
    assert late[Signal.ERROR].nearness > 1.0
    assert late[Signal.PREDICTION].readiness == 1.0
    assert levels.accuracy is not None
    assert levels.baseline_accuracy is not None
    assert levels.accuracy < 0.7 < levels.baseline_accuracy


def test_a_threshold_that_changes_holds_from_the_next_window_on() -> None:
    """The reference and the labels stay: what moves by less than the new PSI is steady, by more is not."""
    sections = {"window": "5s", "reference": 1000, "min_events": 300, "joint": False}
    traffic = Traffic(DriftWatch("requests", config(input=sections)))
    traffic.feed(4000, labelled=False)
    traffic.watch.take(config(input={**sections, "psi": 50.0}))
    assert traffic.feed(3000, odd=0.3, labelled=False) == []
    level = {one.signal: one for one in traffic.watch.levels(START).levels}[Signal.INPUT]
    assert (level.threshold, level.readiness) == (50.0, 1.0)
    traffic.watch.take(config(input=sections))
    (alert,) = traffic.feed(3000, odd=0.3, labelled=False)
    assert alert.signal is Signal.INPUT


def test_what_follows_and_how_often_changes_at_once() -> None:
    """Another response, and labels that were seen count for the threshold that is new."""
    traffic = Traffic(DriftWatch("requests", config(input={"enabled": False}, error={"min_labels": 5000})))
    traffic.feed(3000)
    assert traffic.feed(1000, wrong=0.4) == []
    traffic.watch.take(config(input={"enabled": False}, error={"min_labels": 100}, on_error="retrain"))
    (alert,) = traffic.feed(300, wrong=0.4)
    assert (alert.signal, alert.response) == (Signal.ERROR, Response.RETRAIN)


@pytest.mark.parametrize(
    "changed",
    [
        {"input": {"window": "10s", "reference": 1000, "min_events": 300}},
        {"input": {"detectors": ["ks"], "window": "5s", "reference": 500, "min_events": 300}},
        {"input": {"window": "5s", "reference": 1000, "min_events": 300, "joint": False}},
        {"prediction": {"enabled": False}},
        {"error": {"detector": "adwin"}},
        {"estimate": {"min_events": 200}},
        {"novelty": {"enabled": True}},
        {"quality": {"min_events": 100, "silence": "1m"}},
        {"hysteresis": 1, "cooldown": "1s"},
    ],
)
def test_a_steady_stream_stays_steady_by_any_settings(changed: dict[str, Any]) -> None:
    """There and back again in the middle of a stream: nothing is raised, and drift is found afterwards."""
    traffic = Traffic(DriftWatch("requests", config()))
    traffic.feed(3000)
    traffic.watch.take(config(**changed))
    assert traffic.feed(3000) == []
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(traffic.watch.snapshot()))
    restored = DriftWatch("requests", config(**changed))
    restored.restore(saved)
    assert restored.snapshot() == traffic.watch.snapshot()
    traffic.watch.take(config())
    assert traffic.feed(3000) == []
    assert Signal.ERROR in {alert.signal for alert in traffic.feed(1000, wrong=0.4)}
