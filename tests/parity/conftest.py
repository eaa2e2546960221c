"""One Flink cluster for all tests of parity, as `headrace flink up` runs it."""

from collections.abc import Iterator

import pytest

from infra.flink.cluster import Shape
from infra.flink.control import Cluster, cluster_of
from infra.flink.supervise import running

SWITCHES = 4


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a long run be asked for: `pytest tests/parity/test_handover.py --switches 10`."""
    parser.addoption("--switches", type=int, default=SWITCHES, help="moves between engines under load")


@pytest.fixture(scope="session")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with two slots, started once."""
    home = tmp_path_factory.mktemp("flink")
    with running(home, Shape(), print):
        yield cluster_of(home)
