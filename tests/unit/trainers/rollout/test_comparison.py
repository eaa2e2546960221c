"""Two answers and a label brought together, whichever comes first, for the trial at hand alone."""

import random
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.label import Label
from schemas.record import Coordinates
from schemas.release import Release, State
from schemas.rollout import Rollout, RolloutStage
from schemas.shadow import Shadow
from trainers.rollout.comparison import Comparison
from trainers.rollout.trial import Terms

SINCE = datetime(2026, 3, 14, tzinfo=UTC)
TERMS = Terms(significance=0.001, min_labels=50, p99_ms=50.0)


def release(version: int = 2, stage: RolloutStage = RolloutStage.FULL) -> Release:
    """A release on trial against version 1."""
    rollout = Rollout(stage=stage, share=0.5, against=1, against_sha256="one", since=SINCE, window_s=600.0)
    return Release(
        model="m", stream="m", version=version, uri="", sha256="two", state=State.RELEASED,
        created_at=SINCE, rollout=rollout,
    )  # fmt: skip


def shadow(number: int, *, new: str, old: str, stage: RolloutStage = RolloutStage.FULL) -> Shadow:
    """An event as both answered it: the new one serves, or in shadow is aside."""
    served, aside = ((2, "two", new), (1, "one", old))
    if stage is RolloutStage.SHADOW:
        served, aside = aside, served
    return Shadow(
        stream="m", source="/s", id=f"e{number}", event=Coordinates("events.clean", 0, number),
        event_time=SINCE, model="m", stage=stage,
        version=aside[0], sha256=aside[1], label=aside[2], inference_ms=1.0,
        served_version=served[0], served_sha256=served[1], served_label=served[2], served_ms=1.0,
        agreed=new == old, answered_at=SINCE + timedelta(seconds=1),
    )  # fmt: skip


def label(number: int, truth: str, at_s: int = 0) -> Label:
    """The truth about an event."""
    at = SINCE + timedelta(seconds=at_s)
    return Label(stream="m", source="/s", id=f"e{number}", label=truth, labelled_at=at)


@given(st.integers(0, 2**32), st.sampled_from([RolloutStage.FULL, RolloutStage.SHADOW]))
def test_the_order_of_answers_and_labels_does_not_matter(seed: int, stage: RolloutStage) -> None:
    """However they are mixed, and however often some come, each event counts once, on the right side."""
    news = [shadow(n, new="a", old="a" if n % 3 else "b", stage=stage) for n in range(30)]
    truths = [label(n, "a" if n % 2 else "b") for n in range(25)]
    records: list[Shadow | Label] = [*news, *truths, *news[:5], *truths[:5]]
    random.Random(seed).shuffle(records)
    comparison = Comparison(TERMS)
    comparison.put_on_trial(release(stage=stage))
    for record in records:
        if isinstance(record, Shadow):
            comparison.answered([record])
        else:
            comparison.labelled([record])
    trial = comparison.trial
    assert (trial.failures.of, trial.agreed, trial.errors.of) == (30, 20, 25)
    wrong = [n for n in range(25) if n % 2 == 0]
    assert trial.errors.trial == len(wrong)
    assert trial.errors.worse == sum(n % 3 == 0 for n in wrong)
    assert trial.errors.better == sum(n % 3 == 0 for n in range(25) if n % 2)


def test_of_early_labels_the_newest_counts() -> None:
    """A label that was corrected before the answers came is the corrected one."""
    comparison = Comparison(TERMS)
    comparison.put_on_trial(release())
    comparison.labelled([label(1, "b", 5), label(1, "a", 3)])
    comparison.answered([shadow(1, new="a", old="b")])
    assert (comparison.trial.errors.trial, comparison.trial.errors.other) == (1, 0)


def test_what_belongs_to_another_trial_is_left_out() -> None:
    """Another version, another stage, what came before it began, and what comes when nothing is on trial."""
    comparison = Comparison(TERMS)
    comparison.answered([shadow(1, new="a", old="a")])
    comparison.put_on_trial(release())
    strange = shadow(2, new="a", old="a")
    comparison.answered(
        [
            msgspec.structs.replace(strange, served_sha256="three"),
            shadow(3, new="a", old="a", stage=RolloutStage.SHADOW),
            msgspec.structs.replace(strange, answered_at=SINCE - timedelta(seconds=1)),
        ]
    )
    assert comparison.trial.failures.of == 0


def test_a_trial_goes_on_until_the_next_begins() -> None:
    """The same announcement again changes nothing; another stage, or none, begins anew."""
    comparison = Comparison(TERMS)
    comparison.put_on_trial(release())
    comparison.answered([shadow(1, new="a", old="a")])
    comparison.put_on_trial(release())
    assert comparison.trial.failures.of == 1
    comparison.put_on_trial(release(stage=RolloutStage.CANARY))
    assert comparison.trial.failures.of == 0
    comparison.put_on_trial(None)
    assert comparison.release is None


def test_memory_is_bounded() -> None:
    """Of labels without answers, and of answers without labels, the oldest go."""
    comparison = Comparison(TERMS)
    comparison.put_on_trial(release())
    comparison.labelled([label(n, "a") for n in range(50_001)])
    comparison.answered([shadow(0, new="a", old="a"), shadow(50_000, new="a", old="a")])
    assert comparison.trial.errors.of == 1
    comparison.answered([shadow(n, new="a", old="a") for n in range(60_000, 110_000)])
    comparison.labelled([label(0, "a"), label(109_999, "a")])
    assert comparison.trial.errors.of == 2


def test_numbers_are_right_within_their_tolerance() -> None:
    """A regression's sides differ by how near they come; a label that says no number tells nothing."""
    comparison = Comparison(TERMS)
    comparison.put_on_trial(release())
    for number in range(40):
        answers = {"score": 10.0, "served_score": 12.0 if number % 2 else 10.2, "tolerance": 0.5}
        comparison.answered([msgspec.structs.replace(shadow(number, new="", old=""), **answers)])
        comparison.labelled([label(number, "10.1" if number < 30 else "about ten")])
    trial = comparison.trial
    assert trial.errors.of == 30
    assert (trial.errors.trial, trial.errors.other) == (15, 0)
    assert trial.agreed == 20
