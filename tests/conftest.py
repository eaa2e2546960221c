"""Fixtures shared by all tests: the services of one local stack, and names that no other test uses."""

import uuid
from collections.abc import Iterator

import pytest

from infra.local.stack import Endpoints, Stack, StackSettings


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """Kafka, Redis and ClickHouse, started once for the whole run on free ports, without workers."""
    with Stack(tmp_path_factory.mktemp("stack"), settings=StackSettings(usual_ports=False)) as running:
        yield running.endpoints


@pytest.fixture
def unique() -> str:
    """A fresh lower-case name for topics, tables and key prefixes."""
    return f"t{uuid.uuid4().hex[:12]}"
