"""A stack that tests may break: its services are killed, stopped, slowed down and filled up."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.stack import Stack, StackSettings
from tests.faults.rig import Rig


@pytest.fixture(scope="package")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, Redis and ClickHouse of the fault tests alone; each test leaves them running."""
    with Stack(tmp_path_factory.mktemp("breakable"), settings=StackSettings(usual_ports=False)) as running:
        yield running


@pytest.fixture
def rig(breakable: Stack, unique: str, tmp_path: Path) -> Iterator[Rig]:
    """An installation of the test's own on that stack; its workers end with the test."""
    made = Rig(breakable, unique, tmp_path)
    try:
        yield made
    finally:
        made.end()
