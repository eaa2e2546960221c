"""Accuracy that is likely, before labels say it: consumes answers and the few that are judged, finds a drop.

The first judged answers of a version calibrate its scores; the answers that follow are its reference; from
then on every block of them is estimated. A drop counts when `hysteresis` blocks in a row lie further below
the reference than `margin`, and further than its blocks ever scattered.
"""

from dataclasses import dataclass
from math import hypot
from statistics import fmean, pstdev
from typing import Any, Final

from schemas.config import EstimateDrift
from streams.detectors.cbpe import Cbpe
from streams.drift.answer import Answer, unpacked
from streams.drift.batch import AnswerBatch
from streams.drift.rows import Event, event_of

_REFERENCE_BLOCKS: Final = 8
_DEVIATIONS: Final = 4.0
_EXAMPLES: Final = 5


@dataclass(frozen=True)
class Drop:
    """The estimate fell from `before` to `after`, below `threshold`. Times in seconds since 1970."""

    before: float
    after: float
    threshold: float
    since: float
    to: float
    answers: int
    labels: int
    first: Event
    examples: list[Event]


class EstimateWatch:
    """The estimate of one version. Memory: one block of scores, and eight estimates of the reference."""

    def __init__(self, config: EstimateDrift, hysteresis: int) -> None:
        self._config = config
        self._hysteresis = hysteresis
        self.start()

    def take(self, config: EstimateDrift, hysteresis: int) -> None:
        """Go on by another configuration; blocks of another size, or after a time off, begin anew."""
        before, self._config, self._hysteresis = self._config, config, hysteresis
        if (before.min_events, before.enabled) != (config.min_events, config.enabled):
            self.start()

    def start(self) -> None:
        """Begin with a new version: its scores mean something else."""
        self._cbpe = Cbpe()
        self._reference: list[float] = []
        self._block: list[Answer] = []
        self._below = 0
        self._began: tuple[float, Event] | None = None
        self.quiet = 0
        self.estimate: float | None = None

    @property
    def observations(self) -> int:
        """How many answers an estimate rests on."""
        return 0 if self.estimate is None else self._config.min_events

    def nearest(self) -> tuple[str, float, float]:
        """Return name, size and threshold of the drop: a level grows towards its threshold."""
        expected = self.expected
        drop = 0.0 if expected is None or self.estimate is None else max(0.0, expected - self.estimate)
        most = self._config.margin if expected is None else expected - self.threshold()
        return "estimated accuracy's drop", drop, most

    @property
    def readiness(self) -> float:
        """Share of the labels and of the reference that has come."""
        learnt = min(1.0, self._cbpe.labels / self._config.min_labels)
        return (learnt + len(self._reference) / _REFERENCE_BLOCKS) / 2.0

    @property
    def expected(self) -> float | None:
        """The estimated accuracy of the reference, once there is one."""
        return fmean(self._reference) if len(self._reference) == _REFERENCE_BLOCKS else None

    @property
    def learns(self) -> bool:
        """Whether labels are still needed to calibrate the scores."""
        return self._cbpe.labels < self._config.min_labels

    def judged(self, score: float, right: bool) -> None:  # noqa: FBT001  # an answer's score and its outcome
        """Take an answer with its truth; what calibrates is what comes before the reference."""
        if self.learns:
            self._cbpe.learn(score, right)

    def update(self, batch: AnswerBatch) -> Drop | None:
        """Take the next answers; returns the latest drop that they complete the evidence for."""
        if self.learns:
            return None
        found = None
        start = 0
        while start < len(batch.answers):
            stop = min(len(batch.answers), start + self._config.min_events - len(self._block))
            self._block += batch.answers[start:stop]
            start = stop
            if len(self._block) >= self._config.min_events:
                found = self._complete() or found
        return found

    def _complete(self) -> Drop | None:
        block, self._block = self._block, []
        self.estimate, error = self._cbpe.estimate([answer.score for answer in block])
        if len(self._reference) < _REFERENCE_BLOCKS:
            self._reference.append(self.estimate)
            return None
        return self._compare(block, self.estimate, error)

    def threshold(self, error: float = 0.0) -> float:
        """Return the estimate that is a drop; `error` is the standard error of the block's."""
        if len(self._reference) < _REFERENCE_BLOCKS:
            return 0.0
        scatter = hypot(pstdev(self._reference), error)
        return fmean(self._reference) - max(self._config.margin, _DEVIATIONS * scatter)

    def _compare(self, block: list[Answer], estimate: float, error: float) -> Drop | None:
        threshold = self.threshold(error)
        if estimate >= threshold:
            self._below, self._began = 0, None
            self.quiet += 1
            return None
        self.quiet = 0
        self._below += 1
        if self._began is None:
            earliest = min(block, key=lambda answer: answer.event_time)
            self._began = (earliest.event_time.timestamp(), earliest.where)
        if self._below < self._hysteresis:
            return None
        least = sorted(block, key=lambda answer: answer.score)
        return Drop(
            before=fmean(self._reference),
            after=estimate,
            threshold=threshold,
            since=self._began[0],
            to=max(answer.event_time for answer in block).timestamp(),
            answers=len(block),
            labels=self._cbpe.labels,
            first=self._began[1],
            examples=[answer.where for answer in least[:_EXAMPLES]],
        )

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "cbpe": self._cbpe.snapshot(),
            "reference": self._reference,
            "block": [answer.packed() for answer in self._block],
            "below": self._below,
            "began": None if self._began is None else [self._began[0], list(self._began[1])],
            "quiet": self.quiet,
            "estimate": self.estimate,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self._cbpe.restore(state["cbpe"])
        self._reference = list(state["reference"])
        self._block = [unpacked(answer) for answer in state["block"]]
        self._below = state["below"]
        began = state["began"]
        self._began = None if began is None else (began[0], event_of(began[1]))
        self.quiet = state["quiet"]
        self.estimate = state["estimate"]
