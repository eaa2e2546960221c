"""Fixtures shared by all tests: the services of one local stack, and names that no other test uses."""

import logging
import uuid
from collections.abc import Iterator

import pytest
import structlog

from infra.local.stack import Endpoints, Stack, StackSettings


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a long run be asked for; only here, where pytest looks before it reads what it was called with."""
    parser.addoption("--switches", type=int, default=None, help="moves between engines under load")
    parser.addoption("--whole", action="store_true", help="parity on all rows of all data sets")


@pytest.fixture
def switches(request: pytest.FixtureRequest) -> int:
    """How often the engine changes under load: as the module's `SWITCHES` says, or `--switches`."""
    asked = request.config.getoption("--switches")
    return int(request.module.SWITCHES if asked is None else asked)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """Kafka, Redis and ClickHouse, started once for the whole run on free ports, without workers."""
    with Stack(tmp_path_factory.mktemp("stack"), settings=StackSettings(usual_ports=False)) as running:
        yield running.endpoints


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Undo what a command that a test ran in this process did to the logs: the next test reads its own."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    ours = structlog.stdlib.ProcessorFormatter
    root.handlers[:] = [handler for handler in root.handlers if not isinstance(handler.formatter, ours)]
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def unique() -> str:
    """A fresh lower-case name for topics, tables and key prefixes."""
    return f"t{uuid.uuid4().hex[:12]}"
