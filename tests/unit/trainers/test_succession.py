"""Who serves after whom: what a record remembers, where a rollback goes, what is refused."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.errors import Fatal
from schemas.release import Release, State
from tests.unit.trainers.folders_on_disk import MADE, lay_out
from trainers.succession import announcement, check_still_wanted, promoted, rolled_back, succeeding


def _release(version: int) -> Release:
    return Release(
        model="m", stream="m", version=version, uri=f"file:///m/{version}", sha256=str(version),
        state=State.RELEASED, created_at=MADE,
    )  # fmt: skip


@given(st.lists(st.integers(1, 40), max_size=60))
def test_a_record_remembers_what_served_before_it_once_each(order: list[int]) -> None:
    """In the order of their last service, never the serving one itself, and no more than twenty."""
    serving = None
    for version in order:
        serving = succeeding(_release(version), serving)
    if serving is not None:
        earlier = list(dict.fromkeys(version for version in reversed(order) if version != order[-1]))[::-1]
        assert list(serving.served_before) == earlier[-20:]


def test_rolling_back_goes_further_back_each_time(tmp_path: Path) -> None:
    """From 4 over what served before, to the first; then there is nothing left, and the message says so."""
    serving = None
    for version in (1, 2, 3, 4):
        serving = succeeding(lay_out(tmp_path, version, parent=version - 1 or None), serving)
    seen = []
    while serving is not None and serving.served_before:
        back, left = rolled_back(tmp_path, serving, None, "rolled back by hand")
        assert (left.version, left.state, left.reasons) == (
            serving.version, State.ROLLED_BACK, ("rolled back by hand",)
        )  # fmt: skip
        seen.append(back.version)
        serving = back
    assert seen == [3, 2, 1]
    assert serving is not None
    with pytest.raises(Fatal, match=r"nothing to roll back to.*name another with --to: 2, 3, 4"):
        rolled_back(tmp_path, serving, None, "")


def test_a_rollback_after_a_promotion_goes_to_what_served(tmp_path: Path) -> None:
    """Promoted 2 over 5: back is 5, not the parent of 2; a version whose folder is gone is passed over."""
    for version in (1, 2, 5):
        lay_out(tmp_path, version, parent=1 if version > 1 else None)
    serving = succeeding(_release(5), succeeding(_release(4), None))
    serving = promoted(tmp_path, "requests", 2, serving, "tried again")
    assert serving.served_before == (4, 5)
    assert rolled_back(tmp_path, serving, None, "")[0].version == 5
    back, _ = rolled_back(tmp_path, serving, 1, "")
    assert (back.version, back.served_before) == (1, (4, 5))
    (tmp_path / "requests" / "5").rename(tmp_path / "gone")
    with pytest.raises(Fatal, match="nothing to roll back to"):
        rolled_back(tmp_path, serving, None, "")  # 4 has no folder either


def test_without_a_history_the_parent_is_what_served_before(tmp_path: Path) -> None:
    """A record that names nothing before it, as those of an older installation, goes back to its parent."""
    lay_out(tmp_path, 1)
    assert rolled_back(tmp_path, lay_out(tmp_path, 2, parent=1), None, "")[0].version == 1


def test_a_broken_folder_is_not_promoted(tmp_path: Path) -> None:
    """A changed file, a missing one and a rollback to such a folder are refused by name."""
    first, second = lay_out(tmp_path, 1), lay_out(tmp_path, 2, parent=1)
    graph = tmp_path / "requests" / "1" / "model.fp32.onnx"
    graph.write_bytes(b"other")
    for attempt in (
        lambda: promoted(tmp_path, "requests", 1, second, ""),
        lambda: rolled_back(tmp_path, second, None, ""),
    ):
        with pytest.raises(Fatal, match=r"model\.fp32\.onnx is not the file that was released"):
            attempt()
    graph.unlink()
    with pytest.raises(Fatal, match="cannot be read"):
        promoted(tmp_path, "requests", 1, None, "")
    with pytest.raises(Fatal, match="serves already"):
        rolled_back(tmp_path, first, 1, "")


def test_a_candidate_does_not_undo_what_people_did_meanwhile() -> None:
    """Judged by 3, it may follow 3, be the first, or be announced once more; 2 was rolled back to."""
    candidate = msgspec.structs.replace(_release(4), parent=3)
    for serving in (None, _release(3), _release(4)):
        check_still_wanted(candidate, serving)
    with pytest.raises(Fatal, match="version 2 serves meanwhile; the candidate was judged by 3"):
        check_still_wanted(candidate, _release(2))
    check_still_wanted(msgspec.structs.replace(candidate, state=State.REJECTED), _release(2))


def test_a_version_that_is_brought_back_replaces_the_one_it_was_judged_by() -> None:
    """Its parent is what it was once tuned from; what counts is who serves now."""
    back = msgspec.structs.replace(_release(2), parent=1)
    check_still_wanted(back, _release(5), 5)
    with pytest.raises(Fatal, match="version 1 serves meanwhile; the candidate was judged by 5"):
        check_still_wanted(back, _release(1), 5)


def test_only_a_release_to_serve_has_the_models_key() -> None:
    """What was rolled back or rejected has a key of its own, and never takes the place of a champion."""
    for state, key in ((State.RELEASED, b"m"), (State.ROLLED_BACK, b"m/7"), (State.REJECTED, b"m/7")):
        release = codec.decode(announcement(_release(7)).value, Release)
        assert announcement(msgspec.structs.replace(release, state=state)).key == key
