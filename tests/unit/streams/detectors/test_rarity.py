"""What rarity is made of: the sorted window, the tail, and the distances of numbers and of runs."""

import json
from bisect import bisect_right
from math import dist, log10

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.detectors.rarity import Scalars, Shapes, SortedWindow, Tail

NUMBERS = st.lists(st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float), min_size=1, max_size=60)


@given(NUMBERS, st.integers(1, 20), st.floats(-1e6, 1e6))
def test_the_window_is_the_newest_numbers_in_order(numbers, size, asked):
    """Nearest distance, quantile and excesses are what the newest `size` numbers say, read plainly."""
    window = SortedWindow(size)
    for number in numbers:
        window.add(number)
    newest = numbers[-size:]
    assert window.snapshot() == newest and len(window) == len(newest)
    assert window.largest == max(newest)
    assert window.nearest(asked) == min(abs(asked - number) for number in newest)
    quantile, count, total = window.excesses(0.25)
    ranked = sorted(newest)
    assert quantile == ranked[len(ranked) - 1 - int(0.25 * len(ranked))] == window.upper(0.25)
    assert count == len(ranked) - bisect_right(ranked, quantile)
    assert total == pytest.approx(sum(x - quantile for x in ranked if x > quantile), abs=1e-6)


def test_the_tail_is_lomax_over_the_excesses():
    """Of 0 … 99 the two largest exceed 97, by 1 and 2: 150 has P = 3/101 · (1 + 53/3)^-3, as by hand."""
    tail = Tail(1000)
    for distance in range(100):
        tail.rarity(float(distance), 1e-12)
    expected = 3 * log10(1 + 53 / (3 + 0.099)) - log10(3 / 101)
    assert tail.rarity(150.0, 1e-12) == pytest.approx(expected, rel=1e-9)
    assert tail.rarity(50.0, 1e-12) == 0.0


def test_exponential_distances_are_as_rare_as_said():
    """Of 50,000 exponential numbers about one in a thousand has a rarity of 3 or more."""
    tail = Tail(8192)
    rarities = [tail.rarity(number, 1e-12) for number in np.random.default_rng(3).exponential(1, 50_000)]
    assert 30 <= sum(rarity >= 3.0 for rarity in rarities[1000:]) <= 70


def test_rounding_is_no_distance():
    """What lies within the resolution of the tail's threshold is not rare, and first differences are."""
    tail = Tail(100)
    for _ in range(60):
        assert tail.rarity(0.0, 1e-9) == 0.0
    assert tail.rarity(1e-10, 1e-9) == 0.0
    assert tail.rarity(1e-3, 1e-9) > 5.0


def test_numbers_wait_before_they_are_neighbours():
    """With a delay of three a number is compared with those at least three before it."""
    scalars = Scalars(100, delay=3)
    for number in range(40):
        scalars.rarity(float(number), 1e-12)
    assert set(scalars.snapshot()["distances"]) == {3.0}


def test_a_run_is_compared_with_runs_that_share_nothing_with_it():
    """The distance is the least over all earlier runs that end before the newest begins."""
    numbers = np.random.default_rng(5).normal(size=60).tolist()
    shapes = Shapes(1000, length=4)
    for number in numbers:
        shapes.rarity(number, 1e-12)
    distances = shapes.snapshot()["distances"]
    starts = range(len(numbers) - 7)
    assert distances[-1] == min(dist(numbers[at : at + 4], numbers[-4:]) for at in starts)


@given(NUMBERS, NUMBERS)
def test_snapshots_are_exact(before, after):
    """Through JSON and back, both go on as if nothing had been."""
    for make in (lambda: Scalars(16, delay=2), lambda: Shapes(16, length=2)):
        first, second = make(), make()
        for number in before:
            first.rarity(number, 1e-12)
        second.restore(json.loads(json.dumps(first.snapshot())))
        assert [first.rarity(n, 1e-12) for n in after] == [second.rarity(n, 1e-12) for n in after]
        assert first.snapshot() == second.snapshot()
