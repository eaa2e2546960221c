"""A small run of the stream benchmark: the real worker on a real broker, its outputs checked one by one."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.bench.streams.engines import AT_LEAST_ONCE, ENGINES, HEADRACE, Place
from infra.bench.streams.events import generate
from infra.bench.streams.measure import measure, names_of
from infra.local.stack import Endpoints

EVENTS = 3_000


@pytest.mark.live
@pytest.mark.parametrize("name", [HEADRACE, AT_LEAST_ONCE])
async def test_the_worker_is_measured_and_every_output_is_right(
    name: str, stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """Both commits give each distinct event once, with its time in UTC, at a rate above zero."""
    engine = ENGINES[name]
    names = names_of(unique, engine, 0, 2)
    place = Place(stack.kafka, names, tmp_path, tmp_path / "environments", lambda _line: None)
    started = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
    seen: list[int] = []
    measured = await measure(engine, place, generate(2 * EVENTS, started), EVENTS, seen.extend)
    assert (measured.lost, measured.doubled, measured.wrong) == (0, 0, 0)
    assert measured.events == EVENTS
    assert measured.events_per_s > 100
    assert measured.cpu_s > 0
    assert len(seen) == 1
