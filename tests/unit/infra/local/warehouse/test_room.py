"""Room on the disk: what the engine is asked to write is refused before the disk is full."""

import os
import resource
from pathlib import Path

import pytest

from infra.local.warehouse.errors import EngineError
from infra.local.warehouse.room import NOT_ENOUGH_SPACE, refuse_without_room, room_bytes


def test_free_space_and_the_limit_on_files_both_count(tmp_path: Path) -> None:
    """The smaller of the two is the room there is."""
    disk = os.statvfs(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert room_bytes(tmp_path) <= disk.f_blocks * disk.f_frsize
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000_000, limits[1]))
    try:
        assert room_bytes(tmp_path) <= 100_000_000
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_little_room_is_refused_in_clickhouses_words(tmp_path: Path) -> None:
    """The refusal carries ClickHouse's own code, which the sink waits out."""
    refuse_without_room(tmp_path, least_bytes=1)
    with pytest.raises(EngineError, match="NOT_ENOUGH_SPACE") as refusal:
        refuse_without_room(tmp_path, least_bytes=1 << 62)
    assert refusal.value.code == NOT_ENOUGH_SPACE
    assert refusal.value.status == 500
