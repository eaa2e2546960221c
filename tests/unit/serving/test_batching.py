"""Batch policies: nothing is joined that could change an answer."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.batching import Outputs, Policy, choose, groups, independent

LENGTHS = st.lists(st.integers(1, 6), max_size=60)


@given(LENGTHS, st.integers(1, 8), st.sampled_from(Policy))
def test_groups_hold_each_row_once_and_never_mix_lengths(
    lengths: list[int], most: int, policy: Policy
) -> None:
    """Whatever the rows, each is in one group, of its own length, within the bound."""
    made = groups(policy, lengths, most)
    assert sorted(row for rows in made for row in rows) == list(range(len(lengths)))
    for rows in made:
        assert len({lengths[row] for row in rows}) == 1
        assert len(rows) <= (1 if policy is Policy.SINGLE else most)


def burn(rounds: int) -> None:
    """Use this thread's processor time."""
    for _ in range(rounds):
        np.linalg.svd(np.ones((24, 24)))


def test_the_cheaper_policy_is_chosen_when_answers_agree() -> None:
    """Joined rows that cost a third of the time win."""

    def run(policy: Policy) -> Outputs:
        burn(60 if policy is Policy.SINGLE else 20)
        return [np.array([1.0, 2.0], dtype=np.float32)]

    assert choose(run) is Policy.EQUAL_LENGTH


def test_a_policy_that_changes_answers_is_never_chosen() -> None:
    """However fast, a difference above the bound, or a NaN, forbids it."""
    for wrong in (1.001, float("nan")):

        def run(policy: Policy, wrong: float = wrong) -> Outputs:
            burn(60 if policy is Policy.SINGLE else 1)
            return [np.array([1.0 if policy is Policy.SINGLE else wrong], dtype=np.float32)]

        assert choose(run) is Policy.SINGLE


def test_differences_count_relative_to_the_largest_output_of_the_row() -> None:
    """Float32 noise of a large logit is no difference; the same step beside small logits is."""
    large, small = np.array([20.0, 0.5]), np.array([1.0, 0.5])
    step = np.array([0.0, 6e-6])
    assert independent([large], [large + step])
    assert not independent([small], [small + step])
    assert not independent([small], [np.array([1.0])])
