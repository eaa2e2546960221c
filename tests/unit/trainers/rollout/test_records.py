"""What a release passes on its way, and what is said at each end: the records, on real folders."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas import codec, topics
from schemas.config import Rollout as Terms
from schemas.drift import DriftAlert, Severity
from schemas.errors import Fatal
from schemas.release import Release, State, Swap, Task, Transition, on_trial
from schemas.rollout import RolloutStage
from streams.alerts.page.document import page
from tests.unit.serving.releases import lay_out, reseal, sensor
from trainers.rollout.records import REFUSED, Ended, advanced, begun, dropped, stuck, superseded, taken_back
from trainers.rollout.trial import Terms as TrialTerms
from trainers.rollout.trial import Trial
from trainers.succession import announcement, check_new, promoted, succeeding

NOW = datetime(2026, 3, 14, tzinfo=UTC)
LATER = datetime(2026, 3, 15, tzinfo=UTC)
CONTRACTS: dict[str, Any] = {
    topics.RELEASES.name: Release,
    topics.LOOP.name: Transition,
    topics.ALERTS.name: DriftAlert,
}


def release(root: Path, version: int, seed: int = 1) -> Release:
    """A release folder and its announcement."""
    return lay_out(
        root, sensor(seed, Task.CLASSIFICATION), model="m", version=version, parent=version - 1 or None
    )


def said(ended: Ended) -> list[tuple[str | None, Any]]:
    """Return the key and the contents of every record."""
    return [
        (record.key.decode() if record.key else None, codec.decode(record.value, CONTRACTS[record.topic]))
        for record in ended.records
    ]


def trial() -> Trial:
    """A trial that a release loses."""
    made = Trial(TrialTerms(0.001, 50, 50.0))
    made.judged([(False, True)] * 60)
    return made


def test_by_default_a_release_serves_at_once_and_is_watched(tmp_path: Path) -> None:
    """It is announced under the model's key, with what it is compared with; the first of all with nothing."""
    first, second = release(tmp_path, 1), release(tmp_path, 2)
    assert begun(first, None, Terms(), NOW).rollout is None
    told = begun(second, first, Terms(), NOW)
    assert told.rollout is not None
    assert (told.rollout.stage, told.rollout.share, told.rollout.against) == (RolloutStage.FULL, 0.2, 1)
    assert (told.served_before, told.staged) == ((1,), False)
    assert announcement(told).key == b"m"
    assert begun(second, first, Terms(rollback=False), NOW).rollout is None
    assert begun(second, told, Terms(), LATER) == told, (
        "said again after a crash, its trial does not begin anew"
    )


def test_the_way_is_shadow_canary_full(tmp_path: Path) -> None:
    """Each stage has a key of its own until all events are the release's; then the stage is over for good."""
    first, second = release(tmp_path, 1), release(tmp_path, 2)
    terms = Terms(shadow=True, canary=0.1)
    shadow = begun(second, first, terms, NOW)
    assert shadow.rollout is not None
    assert (shadow.rollout.stage, shadow.rollout.share, shadow.staged) == (RolloutStage.SHADOW, 1.0, True)
    assert announcement(shadow).key == b"m/2"
    canary = advanced(shadow, first, terms, NOW)
    assert canary.staged is not None
    assert canary.staged.rollout is not None
    assert (canary.staged.rollout.stage, canary.staged.rollout.share) == (RolloutStage.CANARY, 0.1)
    assert [(key, type(record)) for key, record in said(canary)] == [("m/2", Release), ("m", Transition)]
    full = advanced(canary.staged, first, terms, NOW)
    assert full.serving is not None
    assert full.serving.served_before == (1,)
    (serves, own, step) = said(full)
    assert (serves[0], serves[1].rollout.stage, own[0], own[1].rollout) == ("m", "full", "m/2", None)
    assert (step[1].previous, step[1].state, step[1].version) == ("canary", "full", 2)
    assert on_trial(first, own[1]) is None, "its stage must not come back with the version before"


def test_what_is_worse_goes_back_with_a_word_to_everyone(tmp_path: Path) -> None:
    """The version before serves again, the one left is marked with the reasons, the loop and people hear."""
    first, second = release(tmp_path, 1), release(tmp_path, 2)
    third = begun(release(tmp_path, 3), succeeding(second, first), Terms(), NOW)
    ended = taken_back(tmp_path, third, ("wrong answers: 60 of 60",), trial(), NOW)
    back, left, alert, step = said(ended)
    assert (back[0], back[1].version, back[1].served_before, back[1].rollout) == ("m", 2, (1,), None)
    assert (left[0], left[1].state) == ("m/3", State.ROLLED_BACK)
    assert left[1].reasons == ("rolled back by itself", "wrong answers: 60 of 60")
    assert (step[1].state, step[1].previous, step[1].version) == ("rolled_back", "full", 3)
    assert alert[1].severity is Severity.CRITICAL
    assert "version 2 serves again" in alert[1].summary
    assert (alert[1].statistic, alert[1].threshold, alert[1].observations) == (1.0, 0.0, 60)
    assert "A release did worse" in page(alert[1])


def test_a_candidate_that_is_worse_leaves_the_champion_alone(tmp_path: Path) -> None:
    """Nothing is announced under the model's key: what serves goes on serving."""
    first, second = release(tmp_path, 1), release(tmp_path, 2)
    canary = begun(second, first, Terms(canary=0.1), NOW)
    ended = taken_back(tmp_path, canary, ("no answer: 20 of 20",), trial(), NOW)
    assert [key for key, _ in said(ended)] == ["m/2", "m", "m"]
    assert ended.serving is None
    assert said(ended)[1][1].severity is Severity.WARNING
    assert superseded(canary, 3).key == b"m/2"


def test_where_there_is_no_way_back_people_are_told(tmp_path: Path) -> None:
    """A version before that was changed on disk must not serve; the alert says so."""
    first, second = release(tmp_path, 1), release(tmp_path, 2)
    told = begun(second, first, Terms(), NOW)
    (tmp_path / "m" / "1" / "model.fp32.onnx").write_bytes(b"another")
    with pytest.raises(Fatal, match="is not the file that was released") as failure:
        taken_back(tmp_path, told, ("wrong answers",), trial(), NOW)
    (alert,) = said(stuck(told, ("wrong answers",), failure.value, trial(), NOW))
    assert "it still serves: m 1 cannot be served" in alert[1].summary


def test_the_same_contents_are_not_released_again(tmp_path: Path) -> None:
    """Another number does not make another model; another graph does. People may still promote it."""
    first, second, again = (release(tmp_path, version) for version in (1, 2, 3))
    changed = reseal(release(tmp_path, 4), "model.fp32.onnx", b"another graph")
    with pytest.raises(Fatal, match="the same model as version 2, which was rolled back"):
        check_new(tmp_path, again, {"m": {2}})
    check_new(tmp_path, changed, {"m": {2}})
    check_new(tmp_path, again, {"other": {2}})
    assert promoted(tmp_path, "m", 2, first, "promoted by hand").rollout is None
    assert second.version == 2


def test_what_serving_refuses_leaves_its_stage_with_the_reason(tmp_path: Path) -> None:
    """It is said under its own key, as rejected, by whom and why; the champion is not spoken of."""
    first, second = release(tmp_path, 1), release(tmp_path, 2)
    told = begun(second, first, Terms(shadow=True), NOW)
    refusal = Swap(
        model="m", stream=second.stream, version=2, sha256=second.sha256, worker="host-1/7", first_offsets={},
        swapped_at=LATER, outcome="rejected", message="an answer takes 80.0 ms, more than 50",
    )  # fmt: skip
    ended = dropped(told, refusal, LATER)
    (key, left), (_, step) = said(ended)
    assert (key, left.state, left.staged) == ("m/2", State.REJECTED, False)
    assert left.reasons == (REFUSED, "an answer takes 80.0 ms, more than 50 (host-1/7)")
    assert (step.previous, step.state, step.version) == ("shadow", "rejected", 2)
    assert "an answer takes 80.0 ms" in step.message
    assert (ended.serving, ended.staged, ended.left) == (None, None, left)
