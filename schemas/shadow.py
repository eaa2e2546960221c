"""What serving writes on `predictions.shadow`: an event as two versions of a model answered it."""

from schemas.record import Contract, Coordinates, Moment
from schemas.rollout import RolloutStage


class Shadow(Contract, frozen=True, kw_only=True):
    """The answer that was not given, beside the one that was; nobody but analysts and the trial reads it.

    `version` and what follows it is the one aside, `served_version` the one whose answer is on `predictions`.
    A `problem` says why there is no answer; label and score are then empty. Times are milliseconds of
    inference, 0 where `cached`. `stage` is that of the trial for which the two are compared. Numbers agree
    within `tolerance`, which is right for both.
    """

    stream: str
    source: str
    id: str
    event: Coordinates
    event_time: Moment
    model: str
    stage: RolloutStage
    version: int
    sha256: str
    label: str = ""
    score: float = 0.0
    cached: bool = False
    inference_ms: float = 0.0
    problem: str = ""
    served_version: int
    served_sha256: str
    served_label: str = ""
    served_score: float = 0.0
    served_cached: bool = False
    served_ms: float = 0.0
    served_problem: str = ""
    agreed: bool
    answered_at: Moment
    tolerance: float | None = None
