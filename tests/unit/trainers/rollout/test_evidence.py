"""Evidence that may be looked at as often as one likes: how seldom it misleads, and how soon it tells."""

from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.rollout.evidence import log_evidence


@pytest.mark.parametrize("chance", [0.01, 0.2, 0.5])
def test_looked_at_after_every_trial_it_seldom_misleads(chance: float) -> None:
    """Of 4,000 seeded courses at the chance itself, at most one in twenty ever reaches twenty."""
    generator = np.random.default_rng(5)
    wealth = [[log_evidence(hits, of, chance) for hits in range(of + 1)] for of in range(201)]
    hits = generator.random((4000, 200)) < chance
    courses = hits.cumsum(1)
    misled = sum(any(wealth[n + 1][count] >= log(20) for n, count in enumerate(course)) for course in courses)
    assert misled / 4000 <= 0.05


@given(st.integers(0, 200), st.integers(0, 200))
def test_it_grows_with_hits_and_shrinks_with_misses(hits: int, misses: int) -> None:
    """One more hit is never evidence against, one more miss never evidence for."""
    now = log_evidence(hits, hits + misses, 0.5)
    assert log_evidence(hits + 1, hits + misses + 1, 0.5) > now > log_evidence(hits, hits + misses + 1, 0.5)


@given(st.integers(0, 60), st.integers(0, 60), st.floats(0.05, 0.95))
def test_a_fair_game_is_a_martingale(hits: int, misses: int, chance: float) -> None:
    """Whatever came before, the next trial leaves the expected wealth as it is."""
    of = hits + misses
    after = chance * exp(log_evidence(hits + 1, of + 1, chance)) + (1 - chance) * exp(
        log_evidence(hits, of + 1, chance)
    )
    assert after == pytest.approx(exp(log_evidence(hits, of, chance)), rel=1e-9)


def test_it_tells_soon() -> None:
    """Sixteen of sixteen where a half was due is evidence of more than three thousand."""
    assert log_evidence(0, 0, 0.5) == pytest.approx(0.0)
    assert next(n for n in range(100) if log_evidence(n, n, 0.5) >= log(3000)) == 16


def test_impossible_counts_are_refused() -> None:
    """More hits than trials, and a chance that is none."""
    with pytest.raises(ValueError, match="cannot be"):
        log_evidence(3, 2, 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        log_evidence(1, 2, 1.0)
