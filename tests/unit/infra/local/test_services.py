"""The services' settings files and the jars' checksums."""

from pathlib import Path

import pytest

from infra.local import jars
from infra.local.broker import broker_answers, server_properties
from infra.local.cache import cache_answers, cache_conf
from infra.local.doctor import java_major
from infra.local.ports import LOOPBACK, lease_port


def test_the_broker_listens_on_loopback_and_advertises_its_own_port(tmp_path: Path) -> None:
    """Clients are sent back to the very port they came to, and nobody else can come."""
    lines = dict(line.split("=", 1) for line in server_properties(tmp_path, 19092, 19093).splitlines())
    assert lines["listeners"] == "PLAINTEXT://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093"
    assert lines["advertised.listeners"] == "PLAINTEXT://127.0.0.1:19092"
    assert lines["log.dirs"] == str(tmp_path / "topics")
    assert lines["auto.create.topics.enable"] == "false"
    assert int(lines["message.max.bytes"]) == 2 * 1024 * 1024


def test_redis_listens_on_loopback_and_keeps_every_write(tmp_path: Path) -> None:
    """Loopback alone, append-only."""
    conf = cache_conf(tmp_path, 16379)
    assert "bind 127.0.0.1\n" in conf
    assert "port 16379\n" in conf
    assert "appendonly yes\n" in conf


def test_nobody_answers_on_a_free_port() -> None:
    """Readiness checks are false, not errors, while nothing listens."""
    lease = lease_port()
    assert not broker_answers(LOOPBACK, lease.port)
    assert not cache_answers(LOOPBACK, lease.port)
    lease.release()


def test_wrong_jars_are_told_one_by_one(tmp_path: Path) -> None:
    """Missing, altered and foreign files each get a line."""
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"  # of "test"
    checksums = tmp_path / "checksums.sha256"
    checksums.write_text(f"{digest}  good.jar\n{digest}  bad.jar\n{digest}  gone.jar\n")
    folder = tmp_path / "jars"
    folder.mkdir()
    for name, text in (("good.jar", "test"), ("bad.jar", "tset"), ("more.jar", "")):
        (folder / name).write_text(text)
    assert jars.JarSet("Test", "test", tmp_path).wrong(folder) == [
        "gone.jar is missing",
        "more.jar is not in the checked list",
        "bad.jar has another sha256 than the checked one",
    ]


def test_the_checked_in_list_names_the_pinned_kafka() -> None:
    """The pom's version and the checksums belong together."""
    assert f"kafka_2.13-{jars.KAFKA_VERSION}.jar" in jars.KAFKA.checksums()
    assert f"<kafka.version>{jars.KAFKA_VERSION}<" in (jars.HERE / "pom.xml").read_text()


@pytest.mark.parametrize(
    ("told", "major"),
    [
        ('openjdk version "17.0.12" 2024', 17),
        ('java version "1.8.0_401"', 8),
        ('openjdk version "21" 2023', 21),
        ("", 0),
    ],
)
def test_java_versions_are_read(told: str, major: int) -> None:
    """Old and new ways of writing a version."""
    assert java_major(told) == major
