"""The workers' metrics: what is counted, what the exporter tells, and that rules and dashboards name them."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import TopicPartition
from prometheus_client import REGISTRY

from infra.runtime import metrics
from infra.runtime.metrics.cleaning import forget_event_times
from infra.runtime.metrics.server import addresses, folder, serve
from schemas.errors import Fatal, Reason

INFRA = Path(__file__).parents[5] / "infra"
NAME = re.compile(r"\bheadrace_[a-z0-9_]+")


def value(name: str, **labels: str) -> float:
    """The present value of a series; 0 where there is none yet."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def declared() -> set[str]:
    """The name of every metric of ours, as it is exported."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in REGISTRY.collect()
        if family.name.startswith("headrace_")
    }


def base(name: str) -> str:
    """The metric that a series of a histogram belongs to."""
    return re.sub(r"_(bucket|sum|count)$", "", name)


def texts() -> dict[str, str]:
    """What names metrics: rules, dashboards, their pages, and the runbooks."""
    places = [*INFRA.glob("prometheus/*"), *INFRA.glob("grafana/*.json"), *INFRA.glob("runbooks/*.md")]
    return {str(path.relative_to(INFRA)): path.read_text(encoding="utf-8") for path in places}


def recorded() -> set[str]:
    """The names that the recording rules make."""
    return set(re.findall(r"record: (\S+)", (INFRA / "prometheus" / "recording.yml").read_text()))


def test_rules_dashboards_and_pages_name_what_there_is() -> None:
    """A metric that is renamed takes its rules, panels and pages with it."""
    known = declared()
    for place, text in texts().items():
        made = set(re.findall(r"\b[a-z]+:headrace_[a-z0-9_]+:[a-z0-9]+", text))
        assert made <= recorded(), place
        plain = re.sub(r"\b[a-z]+:headrace_[a-z0-9_]+:[a-z0-9]+", "", text)
        assert {base(name) for name in NAME.findall(plain)} <= known, place


def test_every_metric_is_on_its_page() -> None:
    """The page lists every metric there is, so that none is found only in the code."""
    page = (INFRA / "prometheus" / "README.md").read_text(encoding="utf-8")
    assert declared() <= set(NAME.findall(page))


def test_every_alert_names_a_runbook_that_is_there() -> None:
    """Whoever is woken finds a page."""
    rules = (INFRA / "prometheus" / "alerts.yml").read_text().split("- alert: ")[1:]
    for rule in rules:
        (page,) = re.findall(r"runbook: (\S+)", rule)
        assert (INFRA.parent / page).is_file(), rule


def test_a_cleaned_batch_is_counted_by_stream_and_reason() -> None:
    """Accepted, duplicates and rejects are told apart; nothing is made of what did not happen."""
    metrics.count_cleaned(accepted=3, duplicates=2, rejected={Reason.OUTLIER: 1}, stream="m1")
    assert value("headrace_events_accepted_total", stream="m1") == 3
    assert value("headrace_events_duplicates_total", stream="m1") == 2
    assert value("headrace_events_rejected_total", stage="clean", stream="m1", reason="outlier") == 1


def test_the_delay_is_that_of_the_partition_furthest_behind() -> None:
    """An older event changes nothing; a partition that went elsewhere counts no more."""
    now = datetime.now(UTC)
    metrics.note_event_time("m2", 0, now - timedelta(seconds=5))
    metrics.note_event_time("m2", 1, now - timedelta(seconds=300))
    metrics.note_event_time("m2", 1, now - timedelta(seconds=900))
    assert 300 <= value("headrace_watermark_delay_seconds", stream="m2") < 320
    forget_event_times(1)
    assert 5 <= value("headrace_watermark_delay_seconds", stream="m2") < 25


def test_the_lag_of_a_partition_that_went_elsewhere_is_shown_no_more() -> None:
    """After a rebalance two workers must not both tell of one partition."""
    metrics.note_lag("g1", {("events.raw", 0): 7, ("events.raw", 1): 0})
    assert value("headrace_consumer_lag_records", group="g1", topic="events.raw", partition="0") == 7
    metrics.note_lag("g1", {("events.raw", 1): 2})
    labels = {"group": "g1", "topic": "events.raw", "partition": "0"}
    assert REGISTRY.get_sample_value("headrace_consumer_lag_records", labels) is None


class _State:
    def __init__(self, position: int | None, highwater: int | None) -> None:
        self.position, self.highwater = position, highwater
        self.has_valid_position = position is not None


class _Assignment:
    """What aiokafka knows of its partitions, in aiokafka's own words."""

    def __init__(self, states: dict[TopicPartition, _State]) -> None:
        self.tps = set(states)
        self.state_value = states.__getitem__


class _Consumer:
    def __init__(self, states: dict[TopicPartition, _State]) -> None:
        self._subscription: Any = self
        self.subscription: Any = self
        self.assignment = _Assignment(states)


def test_lag_is_read_from_what_the_consumer_knows() -> None:
    """Position against the last seen end; what was never fetched is not told; looks are a second apart."""
    known = {
        TopicPartition("t", 0): _State(90, 100),
        TopicPartition("t", 1): _State(5, None),
        TopicPartition("t", 2): _State(None, 9),
    }
    metrics.observe_lag(_Consumer(known), "g2")
    known[TopicPartition("t", 0)].position = 100
    metrics.observe_lag(_Consumer(known), "g2")
    assert value("headrace_consumer_lag_records", group="g2", topic="t", partition="0") == 10
    labels = {"group": "g2", "topic": "t", "partition": "1"}
    assert REGISTRY.get_sample_value("headrace_consumer_lag_records", labels) is None
    metrics.forget_lag("g2")


def test_paths_and_methods_of_strangers_make_no_series_of_their_own() -> None:
    """However many paths are tried, the labels stay those of the routes there are."""
    for path in ("/v1/events", "/v1/predictions/shop/1", "/wp-login.php", "/v1/eventsx"):
        metrics.observe_request(path, "BREW", 404, 0.01)
    found = {
        sample.labels["route"]
        for family in REGISTRY.collect()
        if family.name == "headrace_gateway_requests"
        for sample in family.samples
        if sample.labels["method"] == "other"
    }
    assert found == {"/v1/events", "/v1/predictions", "other"}


def test_a_worker_serves_its_metrics_and_says_where(tmp_path: Path) -> None:
    """The address is there for discovery while the process serves, and gone afterwards."""
    metrics.count_cleaned(accepted=1, duplicates=0, rejected={}, stream="m3")
    with serve(tmp_path, "streams", {}) as url:
        assert list(addresses(tmp_path).values()) == [url]
        (record,) = folder(tmp_path).glob("*.json")
        (entry,) = json.loads(record.read_text())
        assert entry == {"targets": [url.split("/")[2]], "labels": {"worker": "streams"}}
        text = httpx.get(url, trust_env=False).text
    assert 'headrace_events_accepted_total{stream="m3"} 1.0' in text
    assert addresses(tmp_path) == {}


def test_the_record_of_a_killed_worker_is_passed_over_and_cleared(tmp_path: Path) -> None:
    """A process number that no longer lives is no target; the next worker of that name takes it away."""
    folder(tmp_path).mkdir()
    dead = folder(tmp_path) / "streams-999999999.json"
    dead.write_text('[{"targets": ["127.0.0.1:1"], "labels": {"worker": "streams"}}]')
    assert addresses(tmp_path) == {}
    with serve(tmp_path, "streams", {}):
        assert not dead.exists()


def test_metrics_can_be_switched_off_and_a_taken_port_is_said(tmp_path: Path) -> None:
    """`off` opens nothing; a port in use ends the worker with a message instead of a half start."""
    with serve(tmp_path, "sink", {"HEADRACE_METRICS_PORT": "off"}) as url:
        assert url == ""
    with serve(tmp_path, "sink", {}) as url:
        port = url.split(":")[2].split("/")[0]
        with pytest.raises(Fatal, match=port), serve(tmp_path, "drift", {"HEADRACE_METRICS_PORT": port}):
            pass
    with pytest.raises(Fatal, match="off"), serve(tmp_path, "drift", {"HEADRACE_METRICS_PORT": "-1"}):
        pass
