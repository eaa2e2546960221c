"""Two answers to one event while a release is on trial: consumes both, produces a record for analysts.

shadow, full   the champion answers, the second aside      canary   the second answers, the champion aside
"""

from datetime import datetime
from typing import NamedTuple

from schemas.clean import Clean
from schemas.record import Coordinates
from schemas.shadow import Shadow
from serving.answers import Judged
from serving.predictor import Answer
from serving.slot import Second, Served


class Given(NamedTuple):
    """What one version made of an event."""

    served: Served
    judged: Judged


def shadow(
    event: Clean, at: Coordinates, second: Second, given: Given, beside: Given, now: datetime
) -> Shadow:
    """Return the record of an event that both versions were asked; `given` is the answer that counts."""
    mine, theirs = beside.judged.answer, given.judged.answer
    tolerance = second.served.predictor.tolerance
    return Shadow(
        stream=event.stream,
        source=event.source,
        id=event.id,
        event=at,
        event_time=event.time,
        model=second.trial.model,
        stage=second.rollout.stage,
        version=beside.served.release.version,
        sha256=beside.served.release.sha256,
        label=mine.label if mine else "",
        score=mine.score if mine else 0.0,
        cached=beside.judged.cached,
        inference_ms=beside.judged.inference_ms,
        problem=beside.judged.problem,
        served_version=given.served.release.version,
        served_sha256=given.served.release.sha256,
        served_label=theirs.label if theirs else "",
        served_score=theirs.score if theirs else 0.0,
        served_cached=given.judged.cached,
        served_ms=given.judged.inference_ms,
        served_problem=given.judged.problem,
        agreed=mine is not None and theirs is not None and _agree(mine, theirs, tolerance),
        answered_at=now,
        tolerance=tolerance,
    )


def _agree(one: Answer, other: Answer, tolerance: float | None) -> bool:
    return one.label == other.label if tolerance is None else abs(one.score - other.score) <= tolerance
