"""The paired tests against other ways to the same numbers, and what the gate's rule promises of them."""

from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import Gate
from trainers.evaluate import Evidence
from trainers.gate import judge
from trainers.paired import Paired, PairedLosses, bootstrap, mcnemar, tango


def _differing(rows: int, better: int, worse: int) -> Paired:
    candidate, champion = np.ones(rows, dtype=bool), np.ones(rows, dtype=bool)
    champion[:better] = False
    candidate[better : better + worse] = False
    return Paired(candidate, champion)


@settings(deadline=None)  # the first call imports scipy
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=200))
def test_mcnemar_is_scipys_binomial_test(pairs: list[tuple[bool, bool]]) -> None:
    """The exact p-value equals the binomial test's on the rows that differ."""
    from scipy.stats import binomtest

    pair = Paired(np.array([a for a, _ in pairs], dtype=bool), np.array([b for _, b in pairs], dtype=bool))
    better, worse = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    expected = binomtest(better, better + worse, alternative="greater").pvalue if better + worse else 1.0
    assert mcnemar(pair) == pytest.approx(expected)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from([0.005, 0.01, 0.05]))
def test_tangos_score_is_that_of_the_likeliest_loss(better: int, worse: int, margin: float) -> None:
    """The closed form's variance is at the share of lost rows that a numeric search finds likeliest."""
    from scipy.optimize import minimize_scalar
    from scipy.stats import norm

    rows = 400

    def unlikely(share: float) -> float:
        return -float(
            better * np.log(max(share - margin, 1e-300))
            + worse * np.log(share)
            + (rows - better - worse) * np.log1p(margin - 2 * share)
        )

    bounds = (margin + 1e-9, (1 + margin) / 2 - 1e-9)
    share = minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x
    score = (better - worse + rows * margin) / np.sqrt(rows * (2 * share - margin - margin**2))
    assert tango(_differing(rows, better, worse), margin) == pytest.approx(norm.sf(score), abs=1e-4)


def test_tango_without_rows_champion_or_bounds_is_safe() -> None:
    """Nothing is excluded without rows; a loss of everything always is."""
    assert tango(Paired(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool)), 0.01) == 1.0
    assert tango(Paired(np.ones(9, dtype=bool)), 0.01) == 1.0
    assert tango(_differing(10, 0, 10), 1.0) == 0.0
    assert tango(_differing(50, 0, 50), 0.01) == pytest.approx(1.0, abs=1e-6)


def test_the_bootstrap_tells_a_lower_loss_from_an_equal_one() -> None:
    """Seeded, near 1/2 for equal losses, small for lower ones, and the margin makes equal ones pass."""
    chance = np.random.default_rng(3)
    before = chance.exponential(1.0, 2000)
    other = before + chance.normal(0, 0.1, 2000)
    other *= before.mean() / other.mean()
    assert 0.3 < bootstrap(PairedLosses(other, before)) < 0.7
    assert bootstrap(PairedLosses(0.98 * other, before)) < 0.001
    assert bootstrap(PairedLosses(other, before), margin=0.01) < 0.01
    assert bootstrap(PairedLosses(other, before)) == bootstrap(PairedLosses(other, before))
    assert bootstrap(PairedLosses(np.zeros(0), np.zeros(0))) == 1.0


@pytest.mark.parametrize("rows", [60, 300, 1000, 3000])
@pytest.mark.parametrize("differing", [0.02, 0.05, 0.1, 0.2])
def test_a_model_a_point_worse_is_released_by_chance_in_one_of_twenty_at_most(
    rows: int, differing: float
) -> None:
    """The exact chance over every number of rows won and lost, with the default rule; less on many."""
    from scipy.stats import binom

    gate, chance = Gate(), 0.0
    for count in range(int(binom.ppf(1e-5, rows, differing)), int(binom.ppf(1 - 1e-5, rows, differing)) + 1):
        share = (differing - 0.01) / 2 / differing
        passing = bisect_left(range(count + 1), True, key=lambda wins: _passes(rows, wins, count, gate))
        chance += float(binom.pmf(count, rows, differing) * binom.sf(passing - 1, count, share))
    assert chance <= 0.051
    if rows == 3000 and differing <= 0.1:
        assert chance < 0.001


def _passes(rows: int, wins: int, differing: int, gate: Gate) -> bool:
    evidence = Evidence(
        recent=_differing(rows, wins, differing - wins),
        old=Paired(np.zeros(0, dtype=bool), np.zeros(0, dtype=bool)),
        majority=0.5,
        serve="fp32",
        parity=0.0,
        p99_ms=1.0,
    )
    return judge(evidence, gate).released
