"""What serving writes on `predictions`: one answer per clean event, naming the model that gave it."""

from schemas.record import Contract, Coordinates, Moment


class Prediction(Contract, frozen=True, kw_only=True):
    """The answer to one clean event.

    `score` is the probability of `label` for classification, the value for regression, the anomaly score
    otherwise. `event` lies on `events.clean`, `raw` on `events.raw`. `sha256` is the release's digest.
    A regression has no `label`; its value is right if it lies within `tolerance` of the truth.
    `variant` is `champion`, or `canary` where a release on trial answered; `why` says what made it so.
    """

    stream: str
    source: str
    id: str
    event: Coordinates
    raw: Coordinates
    event_time: Moment
    label: str
    score: float
    model: str
    version: int
    sha256: str
    variant: str = "champion"
    cached: bool = False
    predicted_at: Moment
    inference_ms: float = 0.0
    tolerance: float | None = None
    why: str = ""
