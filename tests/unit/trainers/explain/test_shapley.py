"""Shares add up, symmetric parts have the same, an idle part has none, a seed gives them again."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainers.explain.shapley import exact, orders, shapley


def interplay(weights: Tensor):
    """Return a function of rows (N, F) whose columns act on one another."""

    def function(rows: Tensor) -> Tensor:
        return torch.tanh(rows @ weights) + (rows[:, 0] * rows[:, -1]).relu()

    return function


@given(st.integers(1, 7), st.integers(1, 40), st.integers(0, 2**31), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_shares_add_up_whatever_orders_are_walked(width, most, seed, at_once):
    """Their sum is the difference of the outputs, of every row."""
    chance = torch.Generator().manual_seed(seed)
    rows, base, weights = (torch.randn(size, generator=chance) for size in ((3, width), (3, width), (width,)))
    function = interplay(weights)
    shares = shapley(function, rows, base, torch.arange(width), most=most, seed=seed, at_once=at_once)
    assert shares.shape == (3, width)
    assert torch.allclose(shares.sum(1), function(rows) - function(base), atol=1e-4)
    again = shapley(function, rows, base, torch.arange(width), most=most, seed=seed, at_once=at_once)
    assert torch.equal(shares, again)


def test_over_all_orders_equal_parts_share_equally_and_idle_ones_get_nothing():
    """Columns 0 and 1 of x0·x1 + 3·x2 are symmetric, column 3 does nothing; a product is halved."""
    ones, zeros = torch.ones(1, 4), torch.zeros(1, 4)
    shares = shapley(lambda x: x[:, 0] * x[:, 1] + 3 * x[:, 2], ones, zeros, torch.arange(4), most=24, seed=1)
    assert shares.tolist() == [pytest.approx([0.5, 0.5, 3.0, 0.0], abs=1e-6)]


def test_columns_of_one_part_come_and_go_together():
    """The part of two columns has the share of both, and there are as many shares as parts."""
    ones, zeros = torch.ones(1, 3), torch.zeros(1, 3)
    shares = shapley(
        lambda x: x[:, 0] * x[:, 1] + x[:, 2], ones, zeros, torch.tensor([0, 0, 1]), most=2, seed=1
    )
    assert shares.tolist() == [pytest.approx([1.0, 1.0])]


@given(st.integers(1, 9), st.integers(2, 60), st.integers(0, 99))
def test_orders_are_all_or_pairs_of_an_order_and_its_reverse(parts, most, seed):
    """Each is a permutation; a pair halves the error where only two parts act together."""
    drawn = list(orders(parts, most, seed))
    assert all(sorted(order) == list(range(parts)) for order in drawn)
    if exact(parts, most):
        assert len(set(drawn)) == math.factorial(parts)
    else:
        assert len(drawn) == 2 * (most // 2)
        assert all(one == other[::-1] for one, other in zip(drawn[::2], drawn[1::2], strict=True))
