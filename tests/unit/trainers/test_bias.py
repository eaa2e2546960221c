"""Bias by source: planted bias is flagged, none is found where there is none, and cards say it in words."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.record import Coordinates
from trainers.bias import biases, holm, markdown
from trainers.row import Row

LABELS = np.array(["normal", "sqli", "xss"])


def rows_of(sources: list[str]) -> list[Row]:
    """Return a row of each source."""
    at = datetime(2026, 3, 1, tzinfo=UTC)
    event = Coordinates("events.raw", 0, 0)
    return [Row(source=name, id=str(n), time=at, event=event) for n, name in enumerate(sources)]


def steady(seed: int, count: int = 1200, accuracy: float = 0.9, sources: int = 6, *, uneven: bool = False):
    """Return rows of sources that are all answered alike: truth, answers and calibrated confidence."""
    chance = np.random.default_rng(seed)
    shares = chance.dirichlet(np.full(sources, 2.0)) if uneven else None
    names = [f"s{n}" for n in chance.choice(sources, count, p=shares)]
    truth = chance.choice(LABELS, count)
    confidence = np.clip(chance.beta(9 * accuracy, 9 * (1 - accuracy), count), 0.4, 1.0)
    other = LABELS[(np.searchsorted(LABELS, truth) + chance.integers(1, 3, count)) % 3]
    answered = np.where(chance.random(count) < confidence, truth, other)
    return rows_of(names), truth, answered, confidence


@pytest.mark.parametrize("accuracy", [0.8, 0.9, 0.97])
def test_where_there_is_no_bias_hardly_a_card_flags_any(accuracy: float) -> None:
    """Of a hundred steady models at most ten have a flag of any one kind: five are to be expected."""
    flagged = {"accuracy": 0, "rates": 0, "calibration": 0}
    for seed in range(100):
        found = biases(*steady(seed, accuracy=accuracy, uneven=True))
        flagged["accuracy"] += any(bias.less_accurate for bias in found)
        flagged["rates"] += any(rate.flagged for bias in found for rate in bias.rates)
        flagged["calibration"] += any(bias.overconfident for bias in found)
    assert max(flagged.values()) <= 10, flagged


@pytest.mark.parametrize("seed", range(10))
def test_planted_bias_is_flagged_in_each_of_its_forms(seed: int) -> None:
    """A source that is often called an injection is less accurate, called so too often, overconfident."""
    rows, truth, answered, confidence = steady(seed)
    within = np.array([row.source == "s0" for row in rows])
    wrongly = within & (truth == "normal") & (np.random.default_rng(seed).random(len(rows)) < 0.6)
    answered = np.where(wrongly, "sqli", answered)
    (bias,) = [one for one in biases(rows, truth, answered, confidence) if one.name == "s0"]
    assert bias.less_accurate and bias.overconfident and bias.rows == within.sum()
    rates = {rate.label: rate for rate in bias.rates}
    assert rates["sqli"].flagged and rates["sqli"].answered > rates["sqli"].true
    assert rates["normal"].flagged and rates["normal"].answered < rates["normal"].true
    assert not rates["xss"].flagged
    said = bias.findings[0]
    assert said.startswith("source s0: ") and "less accurate than the rest (p " in said
    assert f", {bias.rows} rows)" in said
    assert any(
        "answered sqli" in finding and "more often than is true" in finding for finding in bias.findings
    )
    assert any("more confident for its accuracy" in finding for finding in bias.findings)
    others = [one for one in biases(rows, truth, answered, confidence) if one.name != "s0"]
    assert not any(one.less_accurate for one in others), "that the rest is better is no bias of the rest"


def test_a_sure_difference_of_one_point_is_no_finding() -> None:
    """It is certain with rows enough, and yet too small to matter."""
    truth = np.full(100_000, "normal")
    answered = truth.copy()
    answered[:1000] = "xss"
    (bias, _) = biases(rows_of(["a"] * 50_000 + ["b"] * 50_000), truth, answered)
    assert bias.accuracy_p < 1e-9 and bias.rest - bias.accuracy == pytest.approx(0.02, abs=1e-9)
    answered[:100] = "normal"
    (bias, _) = biases(rows_of(["a"] * 50_000 + ["b"] * 50_000), truth, answered)
    assert bias.accuracy_p < 1e-9 and bias.findings == []


def test_small_sources_and_a_single_one_are_not_compared() -> None:
    """Below thirty rows, or without thirty others, nothing is said, and the card says that."""
    truth = np.full(100, "normal")
    assert biases(rows_of(["a"] * 80 + ["b"] * 20), truth, truth) == ()
    assert biases(rows_of(["a"] * 100), truth, truth) == ()
    assert "No source has 30 held-out rows" in "\n".join(markdown(()))


def test_the_card_says_it_plainly_and_shows_the_table() -> None:
    """A finding is a sentence; without any there is one too. No name breaks the table."""
    rows, truth, answered, confidence = steady(1)
    text = "\n".join(markdown(biases(rows, truth, answered, confidence)))
    assert "Nothing is flagged" in text and "The gate does not judge by this" in text
    odd = rows_of([f"a|b\n\x1b[2J{row.source}" for row in rows])
    lines = markdown(biases(odd, truth, np.where(truth == "xss", "sqli", answered), confidence))
    assert not any(sign in "".join(lines) for sign in "\n\x1b")
    table = [line.replace("\\|", "") for line in lines if line.startswith("|")]
    assert len(table) > 2 and {line.count("|") for line in table} == {9}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_is_between_no_correction_and_bonferronis(p_values: list[float]) -> None:
    """It never lowers a p-value, keeps their order, and the smallest is multiplied by their number."""
    corrected = holm(p_values)
    count = len(p_values)
    assert all(p <= c <= min(1.0, count * p) + 1e-12 for p, c in zip(p_values, corrected, strict=True))
    assert min(corrected) == pytest.approx(min(1.0, count * min(p_values)))
    order = sorted(range(count), key=lambda at: p_values[at])
    assert [corrected[at] for at in order] == sorted(corrected)
