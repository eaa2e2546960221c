"""Prometheus' rules on Flink: each name is on the metrics' page, each alert's page tells of the command."""

import re
from pathlib import Path

INFRA = Path(__file__).parents[4] / "infra"
NAME = re.compile(r"\bflink_(?:jobmanager|taskmanager)_\w+")


def test_every_metric_of_a_rule_is_on_the_page() -> None:
    """The page lists what the rules stand on, and nothing else of Flink's many names."""
    rules = [(INFRA / "prometheus" / name).read_text() for name in ("alerts.yml", "recording.yml")]
    named = {name for text in rules for name in NAME.findall(text)}
    assert named
    assert named == set(NAME.findall((INFRA / "prometheus" / "README.md").read_text()))


def test_alerts_ask_only_for_what_is_recorded() -> None:
    """A recording rule that is renamed takes its alerts with it."""
    recorded = re.findall(r"record: (\S+)", (INFRA / "prometheus" / "recording.yml").read_text())
    asked = re.findall(r"\bjob:flink_\w+:\w+", (INFRA / "prometheus" / "alerts.yml").read_text())
    assert asked
    assert set(asked) <= set(recorded)
