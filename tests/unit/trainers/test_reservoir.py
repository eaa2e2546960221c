"""The replay reservoir: bounded, balanced, seeded, the same in whatever order rows came."""

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from schemas.record import Coordinates
from trainers.reservoir import LONGEST_TEXT, Reservoir, capacity, fair_quota
from trainers.row import Row

START = datetime(2026, 3, 1, tzinfo=UTC)
LABELS = st.lists(st.sampled_from("aaaaaaabbc"), max_size=120)


def _row(number: int, label: str, text: str = "x") -> Row:
    return Row(
        source="shop",
        id=str(number),
        time=START + timedelta(seconds=number),
        event=Coordinates("events.clean", 0, number),
        label=label,
        text=text,
    )


def _ids(reservoir: Reservoir) -> list[str]:
    return [entry.row.id for entry in reservoir.entries]


@given(LABELS, st.integers(1, 40))
def test_it_is_bounded_and_balanced(labels: list[str], size: int) -> None:
    """No class is cut for a larger one, and no place is left that a class could take as a whole."""
    reservoir = Reservoir(size, seed=7)
    reservoir.offer(_row(number, label) for number, label in enumerate(labels))
    reservoir.trim()
    kept = [entry.row.label for entry in reservoir.entries]
    assert len(kept) <= size
    counts = {label: kept.count(label) for label in set(labels)}
    cut = [label for label in counts if counts[label] < labels.count(label)]
    if size >= len(counts):
        assert all(counts[label] == max(counts.values()) for label in cut)
        assert not cut or len(kept) > size - len(cut)


@given(LABELS, st.integers(3, 40), st.randoms(use_true_random=False), st.integers(1, 30))
def test_the_order_of_arrival_decides_nothing(
    labels: list[str], size: int, chance: random.Random, portion: int
) -> None:
    """Offered at once or a few at a time, in any order, with restarts between: the same rows are kept."""
    rows = [_row(number, label) for number, label in enumerate(labels)]
    at_once = Reservoir(size, seed=7)
    at_once.offer(rows)
    at_once.trim()
    shuffled = chance.sample(rows, len(rows))
    by_portions = Reservoir(size, seed=7)
    for start in range(0, len(rows), portion):
        by_portions.offer(shuffled[start : start + portion])
        by_portions.trim()
        by_portions = Reservoir(size, 7, by_portions.entries, by_portions.quota)
    assert _ids(by_portions) == _ids(at_once)


def test_a_new_class_takes_its_share() -> None:
    """Old classes make room for it; the rest of them is still their lowest keys."""
    reservoir = Reservoir(60, seed=7)
    reservoir.offer(_row(number, "ab"[number % 2]) for number in range(400))
    reservoir.trim()
    before = _ids(reservoir)
    assert len(before) == 60
    reservoir.offer(_row(number, "c") for number in range(1000, 1100))
    reservoir.trim()
    kept = [entry.row for entry in reservoir.entries]
    assert {label: sum(row.label == label for row in kept) for label in "abc"} == {"a": 20, "b": 20, "c": 20}
    assert {row.id for row in kept if row.label != "c"} < set(before)


def test_the_seed_draws() -> None:
    """Another seed keeps other rows; the same one the same."""
    drawn = []
    for seed in (7, 7, 8):
        reservoir = Reservoir(20, seed)
        reservoir.offer(_row(number, "a") for number in range(400))
        reservoir.trim()
        drawn.append(_ids(reservoir))
    assert drawn[0] == drawn[1] != drawn[2]


def test_it_remembers_the_first_dataset_and_the_newest_label() -> None:
    """A row that comes again is relabelled; its lineage stays."""
    reservoir = Reservoir(20, seed=7)
    reservoir.offer([_row(1, "a")])
    reservoir.offer([_row(1, "a"), _row(2, "a")], "first")
    reservoir.offer([_row(1, "b"), _row(2, "a"), _row(3, "a")], "second")
    found = {entry.row.id: (entry.row.label, entry.dataset) for entry in reservoir.entries}
    assert found == {"1": ("b", "first"), "2": ("a", "first"), "3": ("a", "second")}


def test_a_draw_takes_only_what_happened_before() -> None:
    """So that what is recent is not replayed as old."""
    reservoir = Reservoir(30, seed=7)
    reservoir.offer(_row(number, "ab"[number % 2]) for number in range(100))
    drawn = reservoir.draw(START + timedelta(seconds=50))
    assert len(drawn) == 30
    assert all(entry.row.time < START + timedelta(seconds=50) for entry in drawn)


def test_texts_without_measure_are_not_remembered() -> None:
    """The bound in rows is one in bytes, too."""
    reservoir = Reservoir(30, seed=7)
    reservoir.offer([_row(1, "a", "x" * (LONGEST_TEXT + 1)), _row(2, "a", "x" * LONGEST_TEXT)])
    assert _ids(reservoir) == ["2"]


def test_more_classes_than_places_still_fill_it() -> None:
    """Each place has a class of its own."""
    reservoir = Reservoir(5, seed=7)
    reservoir.offer(_row(number, str(number % 20)) for number in range(100))
    reservoir.trim()
    assert len({entry.row.label for entry in reservoir.entries}) == len(reservoir) == 5


@given(st.lists(st.integers(0, 500), min_size=1, max_size=6), st.integers(0, 1000))
def test_the_quota_is_fair_and_within_the_size(counts: list[int], size: int) -> None:
    """At most the quota of each class stays within the size, and no small class is cut for a large one."""
    quota = fair_quota(counts, size)
    taken = sum(min(count, quota) for count in counts)
    assert taken <= size
    assert taken == sum(counts) or taken > size - len(counts) or quota == 0


def test_the_capacity_leaves_room_for_the_test() -> None:
    """About `replay` of what is remembered is trained on."""
    assert capacity(4000) == 5000
