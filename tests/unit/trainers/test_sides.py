"""Which rows are trained on, stop a training, and test it: the same in every run."""

from datetime import UTC, datetime, timedelta
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.trainers import samples
from trainers.dataset import from_memory
from trainers.sides import Side, Sides, side_by_hash

START = datetime(2026, 3, 1, tzinfo=UTC)


def _at(second: int) -> datetime:
    return START + timedelta(seconds=second)


def test_of_ten_events_eight_are_trained_on() -> None:
    """By hash, near to 8:1:1 over many ids of many sources."""
    found = [side_by_hash(f"s{number % 7}", str(number)) for number in range(20_000)]
    shares = {side: found.count(side) / len(found) for side in Side}
    assert abs(shares[Side.TRAINING] - 0.8) < 0.01
    assert abs(shares[Side.VALIDATION] - 0.1) < 0.01


def test_a_side_is_the_same_for_ever() -> None:
    """The hash is a part of the contract: another would move rows from the test to training."""
    found = {side: [n for n in range(60) if side_by_hash("shop", str(n)) is side] for side in Side}
    assert found[Side.TEST] == [1, 3, 4, 6, 14, 28, 37, 43, 46, 50]
    assert found[Side.VALIDATION] == [0, 23, 54]


@given(st.text(max_size=8), st.text(max_size=8), st.integers(0, 5000), st.integers(0, 9))
def test_who_comes_with_an_event_does_not_move_it(source: str, name: str, second: int, turns: int) -> None:
    """However often the split is extended by later rows, an event stays where it was."""
    sides = Sides().extended([_at(second)])
    before = sides.of(source, name, _at(second))
    for turn in range(turns):
        sides = sides.extended(_at(second + 10 * turn + step) for step in range(1, 30))
    assert sides.of(source, name, _at(second)) is before


@given(st.lists(st.lists(st.integers(0, 2000), max_size=40), max_size=8))
def test_no_row_goes_from_training_to_the_test(arrivals: list[list[int]]) -> None:
    """Rows come in any order, also late ones: what is trained on is never tested on, nor the reverse."""
    known: dict[int, Side] = {}
    sides = Sides()
    for seconds in accumulate(arrivals):
        sides = sides.extended(_at(second) for second in seconds)
        for second in set(seconds):
            side = sides.of("shop", str(second), _at(second))
            assert known.setdefault(second, side) is side
    assert list(sides.held) == sorted(sides.held)
    assert all(first[1] < second[0] for first, second in zip(sides.held, sides.held[1:], strict=False))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=300))
def test_at_most_two_of_ten_new_times_are_held_out(seconds: list[int]) -> None:
    """Also where many rows have one and the same time, which stay together."""
    sides = Sides().extended(_at(second) for second in seconds)
    held = [second for second in seconds if sides.held and sides.held[0][0] <= _at(second)]
    assert len(held) <= 0.2 * len(seconds)
    if held:
        assert min(held) > max((s for s in seconds if s not in held), default=-1)


def test_the_newest_tenth_is_tested_on_and_training_lies_before_it() -> None:
    """A split in time beside the split by hash; the parts are disjoint and whole."""
    data = from_memory(samples.requests(1, normal=300, sqli=200))
    parts = [{row.id for row in rows} for rows in data.parts().values()]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    newest = max(row.time for row in data.training + data.validation)
    assert sum(row.time > newest for row in data.test) >= 50 - data.leaks.content - data.leaks.near
    assert 0.65 < len(parts[0]) / 500 < 0.8
