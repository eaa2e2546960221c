"""The material of a finished run: what the report, the summary and the figures are made from."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from infra.charts import GREEN, ORANGE, RED, VIOLET
from infra.demo.charts import Mark
from infra.demo.figures import Figures
from infra.demo.lineage import Step
from schemas.drift import DriftAlert
from schemas.release import Swap, Transition
from streams.drift.levels import DriftLevel


@dataclass
class Story:
    """A run that ended. `shortcomings` is empty when it showed all that it must."""

    figures: Figures
    alerts: Sequence[DriftAlert]
    swaps: Sequence[Swap]
    transitions: Sequence[Transition]
    drift_levels: Sequence[tuple[float, DriftLevel]]
    rows_by_stream: dict[str, int]
    webhook_posts: int
    expected_rejections: int
    lineage: Sequence[Step] = ()
    shortcomings: list[str] = field(default_factory=list)
    title: str = "Headrace demo"
    seed: int = 0
    rate: float = 0.0

    @property
    def began(self) -> float:
        """Return when the traffic began, in seconds since 1970."""
        return self.figures.moments.began or 0.0

    def marks(self) -> list[Mark]:
        """Return the milestones, in seconds since the traffic began."""
        moments = self.figures.moments
        known = (
            (moments.drift, "new attacks begin", ORANGE),
            (moments.alert, "alert", RED),
            (moments.release, "release", VIOLET),
            (moments.swap, "swap", GREEN),
        )
        return [(at - self.began, name, colour) for at, name, colour in known if at is not None]
