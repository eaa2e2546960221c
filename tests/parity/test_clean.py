"""Cleaning is the same on every engine: one input, one test body."""

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.flink.control import Cluster
from infra.runtime.settings import Endpoints
from schemas.errors import Reason
from tests.parity.engines import (
    backfilled,
    from_faust_to_flink,
    in_memory,
    on_faust,
    on_flink,
    on_flink_moved,
)
from tests.parity.inputs import Published, records
from tests.parity.outcome import Outcome

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def published(request: pytest.FixtureRequest) -> list[Published]:
    """The input: the beginning of every data set, all of it with `--whole`."""
    return records(NOW, whole=bool(request.config.getoption("--whole")))


@pytest.fixture(scope="module")
def specified(published: list[Published]) -> Outcome:
    """What the engine in memory makes of it."""
    return in_memory(published, NOW)


def test_the_input_is_worth_comparing(published: list[Published], specified: Outcome) -> None:
    """Every kind of flag, several reasons, duplicates, strays: else equality would say little."""
    events = [event for found in specified.clean.values() for event in found]
    flags = Counter(name for event in events for name, flag in event.get("flags", {}).items() if flag)
    assert {"imputed", "outlier", "masked", "repaired", "late", "time_missing", "near_duplicate_of"} <= set(
        flags
    )
    assert any(event.get("window") for event in events)
    assert {Reason.EMPTY, Reason.MALFORMED_JSON, Reason.OVERSIZED} <= {letter[1] for letter in specified.dead}
    assert all(specified.dropped[stream] > 5 for stream in ("requests", "host", "plant", "logs"))
    assert specified.stray.total() > 200
    assert specified.accounted == len(published)


async def test_faust_does_what_the_engine_in_memory_does(
    published: list[Published], specified: Outcome, stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """Equal clean events by key and in order, equal flags, rejections, counts and memories."""
    assert_alike(await on_faust(published, stack, unique, tmp_path), specified)


@pytest.mark.parametrize("run", [on_flink, on_flink_moved], ids=["once", "stopped and rescaled"])
async def test_flink_does_what_the_engine_in_memory_does(
    run: Callable[..., Awaitable[Outcome]],
    published: list[Published],
    specified: Outcome,
    flink: Cluster,
    stack: Endpoints,
    unique: str,
    tmp_path: Path,
) -> None:
    """The same on a cluster, also when the job goes on from a savepoint with fewer tasks."""
    assert_alike(await run(published, stack, unique, tmp_path, flink), specified)


async def test_a_stream_moves_from_faust_to_flink(
    published: list[Published],
    specified: Outcome,
    flink: Cluster,
    stack: Endpoints,
    unique: str,
    tmp_path: Path,
) -> None:
    """Nothing is cleaned twice or not at all: the job goes on at the group's offsets, with its memory."""
    found = await from_faust_to_flink(published, stack, unique, tmp_path, flink)
    assert _identities(found) == _identities(specified)
    assert (found.accepted, found.dropped) == (specified.accepted, specified.dropped)
    assert [letter[:2] for letter in found.dead] == [letter[:2] for letter in specified.dead]
    assert found.remembered == specified.remembered


async def test_a_backfill_cleans_its_range_and_ends(
    published: list[Published], flink: Cluster, stack: Endpoints, unique: str, tmp_path: Path
) -> None:
    """What was published before the end is cleaned, or forwarded to its home; nothing after it."""
    specified = in_memory(published[: len(published) // 2], NOW, forwarded=False)
    found = await backfilled(published, stack, unique, tmp_path, flink, letters=len(specified.dead))
    assert_alike(found, specified)


def assert_alike(found: Outcome, specified: Outcome) -> None:
    """Compare part by part, so that a failure says which differs."""
    assert found.dead == specified.dead
    assert not differences(found, specified)
    assert found.stray == specified.stray
    assert (found.accepted, found.dropped) == (specified.accepted, specified.dropped)
    assert found.remembered == specified.remembered


def differences(found: Outcome, specified: Outcome) -> list[str]:
    """Return in which clean events two outcomes differ: the first of each source, and what of it."""
    told = []
    for source in sorted({*found.clean, *specified.clean}):
        events, wanted = found.clean.get(source, []), specified.clean.get(source, [])
        if len(events) != len(wanted):
            told.append(f"{source}: {len(events)} events instead of {len(wanted)}")
        for number, (event, other) in enumerate(zip(events, wanted, strict=False)):
            if event != other:
                fields = [name for name in {**event, **other} if event.get(name) != other.get(name)]
                told.append(
                    f"{source} at {number}: "
                    + ", ".join(
                        f"{name} {event.get(name)!r} instead of {other.get(name)!r}" for name in fields
                    )
                )
                break
    return told


def _identities(found: Outcome) -> dict[str, list[str]]:
    """Return the ids of each source in their order; recent readings do not move, so flags may differ."""
    return {source: [event["id"] for event in events] for source, events in found.clean.items()}
