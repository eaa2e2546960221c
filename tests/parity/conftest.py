"""One Flink cluster for all tests of parity, as `headrace flink up` runs it."""

from collections.abc import Iterator

import pytest

from infra.flink.cluster import Shape
from infra.flink.control import Cluster, cluster_of
from infra.flink.supervise import running


@pytest.fixture(scope="session")
def flink(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster with two slots, started once."""
    home = tmp_path_factory.mktemp("flink")
    with running(home, Shape(), print):
        yield cluster_of(home)
