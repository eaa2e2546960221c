"""A job's command line."""

from pathlib import Path

import pytest

from schemas.errors import Fatal
from streams.jobs.backfill import arguments_of, place
from streams.jobs.ends import Place
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
    assert place("earliest", "earliest") == Place("earliest")
    assert place("0:5,1:7", "latest") == Place("latest", offsets={0: 5, 1: 7})
    assert place("@1000", "latest") == Place("latest", at_ms=1000)
    for wrong in ("yesterday", "latest", "0:5,", "@", "1"):
        with pytest.raises(Fatal, match="no end of a range"):
            place(wrong, "earliest")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (["--files", "/a", "--begin", "0:5"], "--files and a range"),
        (["--files", "/a", "--files", "b.jsonl"], r"--files b\.jsonl: .* absolute path"),
    ],
)
def test_files_and_a_range_exclude_each_other(told: list[str], said: str):
    """Nothing is submitted, and the message says what is wrong."""
    with pytest.raises(Fatal, match=said):
        arguments_of(["--bootstrap", "kafka:9092", *told])


def test_files_may_be_named_in_several_ways():
    """Many behind one option, or each behind its own; URIs too."""
    told = ["--files", "/a", "/b", "--parallelism", "2", "--files", "s3://bucket/c"]
    assert arguments_of(["--bootstrap", "kafka:9092", *told]).files == ["/a", "/b", "s3://bucket/c"]
