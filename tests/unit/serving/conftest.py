"""Fixtures of the serving tests: a pool of inference threads."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Two inference threads, as served by default."""
    with ThreadPoolExecutor(2) as threads:
        yield threads
