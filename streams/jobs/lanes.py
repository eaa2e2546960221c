"""Which key stands for a partition in Flink, where it says which task works on it.

Flink spreads keys by their hash over key groups, and these evenly over tasks; the few partitions of a topic
would often meet in one task while another has none. So each partition gets the key whose group lies where the
van der Corput sequence says: however many partitions and tasks there are, none has more than its share, and
more of either move no key.
"""

from collections.abc import Callable
from itertools import count
from typing import Final

KEY_GROUPS: Final = 128
"""Flink's maximum parallelism of the jobs; a job's state can be taken over only by one with as many."""


def lane_keys(partitions: int, group_of: Callable[[int], int]) -> list[int]:
    """Return the key of each partition; `group_of` is Flink's assignment of a key to one of the groups."""
    wanted = [_spread(number) for number in range(partitions)]
    missing = set(wanted)
    found: dict[int, int] = {}
    for key in count():
        if not missing:
            break
        group = group_of(key)
        if group in missing:
            missing.remove(group)
            found[group] = key
    rounds = [number // KEY_GROUPS for number in range(partitions)]
    return [_nth(found[group], turn, group_of) for group, turn in zip(wanted, rounds, strict=True)]


def _spread(number: int) -> int:
    """Return the number's bits in reverse: 0, 64, 32, 96, 16 and so on."""
    bits = KEY_GROUPS.bit_length() - 1
    return int(f"{number % KEY_GROUPS:0{bits}b}"[::-1], 2)


def _nth(first: int, turn: int, group_of: Callable[[int], int]) -> int:
    """Return the key that is `turn` further in the group of `first`."""
    group, key = group_of(first), first
    for _ in range(turn):
        key = next(other for other in count(key + 1) if group_of(other) == group)
    return key
