"""A job's command line."""

from pathlib import Path

import pytest

from schemas.errors import Fatal
from streams.jobs.backfill import scan
from streams.jobs.options import options, parser


def test_names_carry_the_prefix(tmp_path: Path):
    """Groups and transactional ids are the installation's own; the command line's prefix wins."""
    file = tmp_path / "headrace.toml"
    file.write_text('topic_prefix = "a."\n[streams.logs]\nkind = "log"\n')
    argv = ["--bootstrap", "kafka:9092", "--config", str(file)]
    told = options(parser("", "group").parse_args(argv))
    assert (told.group, told.transactional_prefix, told.parallelism) == ("a.group", "a.group", None)
    assert list(told.settings().config.streams) == ["logs"]
    told = options(
        parser("", "group").parse_args([*argv, "--prefix", "b.", "--transactional-prefix", "mine"])
    )
    assert (told.group, told.transactional_prefix) == ("b.group", "mine")
    assert told.settings().config.topic_prefix == "b."


def test_a_missing_file_is_named():
    """The message names the option and the path."""
    with pytest.raises(Fatal, match=r"--config: .*nowhere"):
        options(parser("", "group").parse_args(["--bootstrap", "kafka:9092", "--config", "nowhere"]))


def test_a_range_has_two_ends():
    """Offsets, moments and the ends of the topic."""
    assert scan("earliest", "latest") == {
        "scan.startup.mode": "earliest-offset",
        "scan.bounded.mode": "latest-offset",
    }
    assert (
        scan("@1000", "0:5,1:7")["scan.bounded.specific-offsets"]
        == "partition:0,offset:5;partition:1,offset:7"
    )
    assert scan("@1000", "latest")["scan.startup.timestamp-millis"] == "1000"
    with pytest.raises(Fatal, match="no end of a range"):
        scan("yesterday", "latest")
