"""A release on trial, simulated: how rarely a good one is rolled back, how soon a bad one is."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trainers.rollout.trial import Pair, Sample, Side, Terms, Trial, unpaired, upper

TERMS = Terms(significance=0.001, min_labels=50, p99_ms=50.0)
FINE = Side("a", ms=5.0)
FAILED = Side("", failed=True)
SLOW = Side("a", ms=80.0)


def course(trial: Trial, right: NDArray[np.bool_], other: NDArray[np.bool_], batch: int = 10) -> int | None:
    """Feed labelled events in batches, looking after each; return after how many it is worse, if ever."""
    for begin in range(0, len(right), batch):
        part = slice(begin, begin + batch)
        trial.judged(list(zip(right[part].tolist(), other[part].tolist(), strict=True)))
        if trial.worse():
            return begin + batch
    return None


def test_good_releases_are_rolled_back_less_than_once_in_a_thousand() -> None:
    """4,000 seeded releases as good as the one before, right after a drift, looked at 100 times each: ≤ 4 go.

    Both are right on 40 to 60 % of what comes after the drift, and err independently: the hardest case for a
    test, since half of the events differ. What an unpaired glance at the accuracy before the drift (95 %)
    would have said of every one of them is said too.
    """
    generator = np.random.default_rng(11)
    gone = 0
    for _ in range(4000):
        accuracy = generator.uniform(0.4, 0.6)
        right, other = generator.random((2, 1000)) < accuracy
        gone += course(Trial(TERMS), right, other) is not None
    assert gone <= 4
    before, since = (
        Sample(judged=1000, right=950, answered=1000),
        Sample(judged=1000, right=500, answered=1000),
    )
    assert unpaired(before, since, TERMS)


@pytest.mark.parametrize(("swapped", "within"), [(0.1, 400), (0.3, 150), (1.0, 50)])
def test_a_release_with_swapped_labels_is_found_soon(swapped: float, within: int) -> None:
    """Each of 200 seeded releases that turn a share of right answers is found within so many labels."""
    generator = np.random.default_rng(3)
    for _ in range(200):
        other = generator.random(2000) < 0.9
        right = other & (generator.random(2000) >= swapped)
        found = course(Trial(TERMS), right, other)
        assert found is not None
        assert found <= within


def test_a_better_release_stays() -> None:
    """It is never worse, and passes as soon as it was seen enough."""
    generator = np.random.default_rng(4)
    trial = Trial(TERMS)
    other = generator.random(500) < 0.5
    right = other | (generator.random(500) < 0.5)
    assert not trial.passed()
    assert course(trial, right, other) is None
    assert trial.passed()


def test_labels_decide_only_when_there_are_enough() -> None:
    """Forty wrong answers in a row are few; fifty are what was asked for."""
    trial = Trial(TERMS)
    trial.judged([(False, True)] * 49)
    assert not trial.worse()
    assert not trial.passed()
    trial.judged([(False, True)])
    assert trial.worse() == ("wrong answers: 50 of 50, the version before 0; alone 50 and 0",)
    assert not trial.passed()


def test_answers_that_are_not_given_need_no_label() -> None:
    """A release that fails where the one before answers is worse; where both fail, the event is to blame."""
    trial = Trial(TERMS)
    trial.answered([Pair(FAILED, FAILED)] * 500)
    assert not trial.worse()
    trial.answered([Pair(FAILED, FINE)] * 16)
    assert trial.worse()[0].startswith("no answer: 516 of 516, the version before 500")


def test_a_busy_machine_is_nobodys_fault() -> None:
    """Both slow: not worse. The new one alone, more than once in a hundred: worse. Cached ones: no time."""
    trial = Trial(TERMS)
    trial.answered([Pair(SLOW, SLOW)] * 200)
    assert not trial.worse()
    trial = Trial(TERMS)
    trial.answered([Pair(SLOW, FINE)] * 5 + [Pair(FINE, FINE)] * 2000)
    assert not trial.worse()
    trial.answered([Pair(SLOW, FINE)] * 60)
    assert trial.worse()[0].startswith("over 50 ms: 65 of 2065")
    trial = Trial(TERMS)
    trial.answered([Pair(SLOW._replace(ms=None), FINE)] * 500)
    assert not trial.worse()
    assert trial.late.of == 0


def test_a_model_without_labels_passes_by_its_answers() -> None:
    """An anomaly model is judged by answers and times alone."""
    trial = Trial(TERMS._replace(labels=False))
    trial.answered([Pair(FINE, Side("b", ms=5.0))] * 49)
    assert not trial.passed()
    trial.answered([Pair(FINE, FINE)])
    assert trial.passed()
    assert trial.agreed == 1


def test_shares_are_compared_where_no_event_has_two_answers() -> None:
    """Accuracy, failures and times against those of the version before, with room for chance."""
    before = Sample(judged=400, right=380, answered=2000, failed=0, timed=1000, late=2)
    assert unpaired(before, Sample(judged=400, right=376, answered=400, timed=400), TERMS) == ()
    assert unpaired(before, Sample(judged=40, right=0, answered=40), TERMS) == ()
    worse = Sample(judged=200, right=130, answered=400, failed=60, timed=400, late=60)
    assert [reason.split(":")[0] for reason in unpaired(before, worse, TERMS)] == [
        "wrong answers", "no answer", "over 50 ms",
    ]  # fmt: skip
    assert unpaired(Sample(), worse, TERMS) == ()


def test_comparing_shares_is_rarely_wrong() -> None:
    """Of 2,000 seeded pairs of samples of one accuracy, looked at forty times, at most two are worse."""
    generator = np.random.default_rng(8)
    gone = 0
    for _ in range(2000):
        before = Sample(judged=300, right=int(generator.binomial(300, 0.8)))
        rights = (generator.random(800) < 0.8).cumsum()
        gone += any(
            unpaired(before, Sample(judged=n, right=int(rights[n - 1])), TERMS) for n in range(20, 801, 20)
        )
    assert gone <= 2


def test_the_upper_bound_is_clopper_and_pearsons() -> None:
    """A share is above its bound as often as is allowed."""
    assert upper(0, 100, 0.05) == pytest.approx(1 - 0.05 ** (1 / 100))
    assert upper(100, 100, 0.05) == pytest.approx(1.0)


def test_no_answer_is_never_right() -> None:
    """Not of a class without a name, nor of a number that happens to be near 0."""
    numbers = Pair(Side("", failed=True), Side("", score=0.2), tolerance=0.5)
    assert numbers.right("0.1") == (False, True)
    assert Pair(Side("", failed=True), Side("a")).right("") == (False, False)
