"""Settings: where each value is taken from, and what a wrong file is answered with."""

import json
from pathlib import Path

import pytest

from infra.runtime.settings import DEFAULT_CONFIG, Endpoints, Settings, load, load_config, parse
from schemas.errors import Fatal
from schemas.topics import CLEAN

GIVEN = {
    "HEADRACE_KAFKA": "broker:9092",
    "HEADRACE_REDIS": "redis://cache:6379/0",
    "HEADRACE_CLICKHOUSE": "http://reader:hunter2@warehouse:8123",
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run where no headrace.toml lies."""
    monkeypatch.chdir(tmp_path)


def test_the_built_in_configuration_has_the_three_streams() -> None:
    """Without a file, one stream of each kind is there."""
    assert {name: stream.kind.value for name, stream in load_config({}).streams.items()} == {
        "requests": "api",
        "host": "sensor",
        "logs": "log",
    }
    assert load_config({}) == parse(DEFAULT_CONFIG, "built in")


def test_a_file_in_the_working_folder_is_read(tmp_path: Path) -> None:
    """`./headrace.toml` needs no setting."""
    (tmp_path / "headrace.toml").write_text('[streams.mine]\nkind = "log"\n')
    assert list(load_config({}).streams) == ["mine"]


def test_a_named_file_comes_before_the_working_folders(tmp_path: Path) -> None:
    """HEADRACE_CONFIG decides."""
    (tmp_path / "headrace.toml").write_text('[streams.mine]\nkind = "log"\n')
    other = tmp_path / "other.toml"
    other.write_text('[streams.other]\nkind = "api"\n')
    assert list(load_config({"HEADRACE_CONFIG": str(other)}).streams) == ["other"]


def test_a_named_file_that_is_missing_is_fatal(tmp_path: Path) -> None:
    """A typing error in the path never falls back silently."""
    with pytest.raises(Fatal, match="which is no file"):
        load_config({"HEADRACE_CONFIG": str(tmp_path / "nothing.toml")})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[streams.a]\nkind = "log"\ndedup = 1', "streams.a.dedup: unknown key; did you mean 'dedupe'"),
        ('[streams.a]\nkind = "log"\n[streams.a.clean]\nmisssing = "drop"', "did you mean 'missing'"),
        ('[streams.a]\nkind = "log"\n[streams.a.model.learn]\nreply = 1', "did you mean 'replay'"),
        ('[streams.a]\nkind = "log"\nzzz = 1', "known keys: clean, dedupe"),
        ('[streams.a]\nkind = "video"', "streams.a.kind"),
        ('[streams.a]\nkind = "log"\ndedupe = { window = "week" }', "is no duration"),
        ("[streams.a", "not valid TOML"),
        ("", "streams: Field required"),
    ],
)
def test_a_wrong_file_is_explained(text: str, told: str) -> None:
    """The message names the file, the place and the nearest right key."""
    with pytest.raises(Fatal) as caught:
        parse(text, "headrace.toml")
    assert "headrace.toml" in str(caught.value)
    assert told in str(caught.value)


def test_addresses_from_the_environment_come_first(tmp_path: Path) -> None:
    """An address that is set replaces the file's and the local stack's."""
    (tmp_path / "headrace.toml").write_text('[streams]\n[services]\nkafka = "from-file:1"\n')
    settings = load({**GIVEN, "HEADRACE_HOME": str(tmp_path)})
    assert settings.endpoints == Endpoints("broker:9092", *list(GIVEN.values())[1:])


def test_addresses_are_completed_from_the_local_stack(tmp_path: Path) -> None:
    """What neither environment nor file names is what `headrace up` recorded."""
    (tmp_path / "headrace.toml").write_text('[streams]\n[services]\nredis = "redis://from-file"\n')
    (tmp_path / "stack.json").write_text(json.dumps({"kafka": "k:1", "redis": "r:2", "clickhouse": "c:3"}))
    settings = load({"HEADRACE_KAFKA": "mine:9", "HEADRACE_HOME": str(tmp_path)})
    assert settings.endpoints == Endpoints("mine:9", "redis://from-file", "c:3")


def test_without_a_stack_the_missing_services_are_named(tmp_path: Path) -> None:
    """The error says which addresses are missing and what to do."""
    with pytest.raises(Fatal, match=r"no address for redis, clickhouse: .*headrace up"):
        load({"HEADRACE_KAFKA": "k:1", "HEADRACE_HOME": str(tmp_path)})


def test_topics_carry_the_prefix(tmp_path: Path) -> None:
    """Two installations on one cluster do not meet."""
    config = parse('topic_prefix = "blue."\n[streams.a]\nkind = "log"\n', "t")
    settings = Settings(tmp_path, config, Endpoints("", "", ""))
    assert settings.topic(CLEAN) == "blue.events.clean"
    assert settings.releases == tmp_path / "releases"


def test_an_unknown_stream_is_answered_with_those_there_are(tmp_path: Path) -> None:
    """A typing error on the command line is easy to mend."""
    settings = Settings(tmp_path, parse(DEFAULT_CONFIG, "t"), Endpoints("", "", ""))
    assert settings.stream("logs").kind.value == "log"
    with pytest.raises(Fatal, match="requests, host, logs"):
        settings.stream("lgos")
