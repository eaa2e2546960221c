"""Keys of partitions: tasks get equal shares, and no key moves."""

from collections import Counter
from zlib import crc32

import pytest

from streams.jobs.lanes import KEY_GROUPS, lane_keys


def _group_of(key: int) -> int:
    return crc32(str(key).encode()) % KEY_GROUPS


@pytest.mark.parametrize("tasks", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("partitions", [1, 2, 4, 8, 16, 200])
def test_tasks_get_equal_shares(partitions: int, tasks: int):
    """No task has more than its share of the partitions, rounded up, and one."""
    groups = [_group_of(key) for key in lane_keys(partitions, _group_of)]
    shares = Counter(group * tasks // KEY_GROUPS for group in groups)
    assert max(shares.values()) <= -(-partitions // tasks) + 1
    if partitions % tasks == 0 and tasks in {1, 2, 4, 8}:
        assert set(shares.values()) == {partitions // tasks}


def test_more_partitions_move_no_key_and_no_two_share_one():
    """A topic that grows keeps the state of the partitions it had."""
    few, many = lane_keys(3, _group_of), lane_keys(300, _group_of)
    assert many[:3] == few
    assert len(set(many)) == 300
