"""Cleaning is the same on every engine: one input, one test body."""

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.flink.control import Cluster
from infra.runtime.settings import Endpoints
from schemas.errors import Reason
from tests.parity.engines import in_memory, on_faust, on_flink
from tests.parity.inputs import Published, records
from tests.parity.outcome import Outcome

pytestmark = [pytest.mark.live, pytest.mark.timeout(150)]
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def published() -> list[Published]:
    """The input."""
    return records(NOW)


@pytest.fixture(scope="module")
def specified(published: list[Published]) -> Outcome:
    """What the engine in memory makes of it."""
    return in_memory(published, NOW)


def test_the_input_is_worth_comparing(published: list[Published], specified: Outcome) -> None:
    """Every kind of flag, several reasons, duplicates, strays: else equality would say little."""
    events = [event for found in specified.clean.values() for event in found]
    flags = Counter(name for event in events for name, flag in event.get("flags", {}).items() if flag)
    assert {"imputed", "outlier", "masked", "repaired", "late", "time_missing", "near_duplicate_of"} <= set(flags)
    assert any(event.get("window") for event in events)
    assert {Reason.EMPTY, Reason.MALFORMED_JSON, Reason.OVERSIZED} <= {letter[1] for letter in specified.dead}
    assert all(specified.dropped[stream] > 5 for stream in ("requests", "host", "plant", "logs"))
    assert specified.stray.total() > 200
    assert specified.accounted == len(published)


@pytest.mark.parametrize("engine", ["faust", "flink"])
async def test_an_engine_does_what_the_one_in_memory_does(
    engine: str,
    published: list[Published],
    specified: Outcome,
    request: pytest.FixtureRequest,
    stack: Endpoints,
    unique: str,
    tmp_path: Path,
) -> None:
    """Equal clean events by key and in order, equal flags, rejections, counts and memories."""
    if engine == "faust":
        found = await on_faust(published, stack, unique, tmp_path)
    else:
        cluster: Cluster = request.getfixturevalue("flink")
        found = await on_flink(published, stack, unique, tmp_path, cluster)
    assert found.dead == specified.dead
    assert found.clean == specified.clean
    assert found.stray == specified.stray
    assert (found.accepted, found.dropped) == (specified.accepted, specified.dropped)
    assert found.remembered == specified.remembered
