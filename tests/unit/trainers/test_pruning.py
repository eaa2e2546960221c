"""Which releases may go: what is kept, by whom, and what a deletion leaves."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schemas.release import Release
from tests.unit.trainers.folders_on_disk import MADE, lay_out
from trainers import folders
from trainers.pruning import Plan, delete, plan
from trainers.succession import succeeding

Planned = Callable[..., Plan]


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve releases, a day apart, each continued from the one before."""
    folder = tmp_path_factory.mktemp("releases")
    for version in range(1, 13):
        lay_out(folder, version, parent=version - 1 or None)
    return folder


def _plan(releases: Path, serving: Release | None, **settings: Any) -> Plan:
    defaults: dict[str, Any] = {
        "swapped": set(), "aliased": {}, "keep": 0, "younger_than": timedelta(),
        "now": MADE + timedelta(days=30),
    }  # fmt: skip
    return plan(releases, "requests", serving=serving, **(defaults | settings))


def test_the_champion_its_previous_the_newest_and_their_parents_stay(releases: Path) -> None:
    """With two kept: champion 12, 11 and 10, and 9 so that 10 can be trained again."""
    champion = succeeding(folders.record(releases, "requests", 12), folders.record(releases, "requests", 11))
    found = _plan(releases, champion, keep=2)
    assert found.kept == {12: "champion", 11: "previous", 10: "among the newest 2", 9: "parent of 10"}
    assert list(found.doomed) == list(range(1, 9))
    assert all(size > 100 for size in found.doomed.values())


def test_age_aliases_and_workers_keep_a_version(releases: Path) -> None:
    """A young one, one that an alias names and one that a worker still serves stay, whatever their number."""
    champion = folders.record(releases, "requests", 5)
    found = _plan(releases, champion, swapped={3}, aliased={"golden": 8}, younger_than=timedelta(days=20))
    assert found.kept == {
        2: "parent of 3", 3: "a worker may serve it", 4: "parent of 5", 5: "champion", 7: "parent of 8",
        8: "alias golden", 10: "parent of 11", 11: "young", 12: "young",
    }  # fmt: skip


def test_where_nothing_serves_nothing_goes(releases: Path) -> None:
    """Before the first announcement, or with the topic lost, no folder is known to be useless."""
    assert _plan(releases, None).doomed == {}


@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50
)
@given(
    champion=st.integers(1, 12), keep=st.integers(0, 6), days=st.integers(0, 40),
    swapped=st.sets(st.integers(1, 12), max_size=3), alias=st.integers(1, 12),
)  # fmt: skip
def test_nothing_that_is_needed_ever_goes(
    releases: Path, champion: int, keep: int, days: int, swapped: set[int], alias: int
) -> None:
    """Kept and doomed are all there is, and never share a version; the needed are kept."""
    found = _plan(
        releases, folders.record(releases, "requests", champion), keep=keep, swapped=swapped,
        aliased={"x": alias}, younger_than=timedelta(days=days),
    )  # fmt: skip
    assert sorted([*found.kept, *found.doomed]) == list(range(1, 13))
    assert {champion, alias, *swapped} <= set(found.kept)
    assert len(found.kept) >= min(12, keep + 1)
    assert not any(12 - version < keep for version in found.doomed if version > champion)


def test_a_deletion_frees_the_number_never_and_leaves_no_half_folder(tmp_path: Path) -> None:
    """What a killed deletion left goes with the next one; the version's number is not given again."""
    home, releases = tmp_path, tmp_path / "releases"
    for _ in range(2):
        lay_out(releases, folders.reserve(home, releases, "requests"))
    leftover = releases / "requests" / ".pruned-9-1"
    leftover.mkdir()
    delete(releases, "requests", 2)
    assert [path.name for path in (releases / "requests").iterdir()] == ["1"]
    assert folders.versions(releases, "requests") == [1]
    assert folders.reserve(home, releases, "requests") == 3
