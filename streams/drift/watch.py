"""The drift watch of one stream: consumes clean events, predictions, labels and swaps, produces alerts.

It knows no engine, clock or network: times come in as arguments, and everything it remembers is bounded.
Records come in batches, as they were fetched; how they are cut into batches decides nothing but the moment at
which a window is looked at.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, Final

from schemas.config import Stream
from schemas.copies import Copies
from schemas.dead import Dead
from schemas.drift import DriftAlert, Signal
from schemas.label import Label
from schemas.record import Coordinates
from schemas.release import Swap, Task
from streams.drift.answer import Answer
from streams.drift.batch import AnswerBatch, CleanBatch
from streams.drift.error import ErrorWatch, Rise
from streams.drift.estimate import EstimateWatch
from streams.drift.inputs import PredictionWatch
from streams.drift.intake import Intake
from streams.drift.join import Judged, LabelJoin
from streams.drift.levels import StreamLevels
from streams.drift.overview import Watched, levels_of
from streams.drift.shift_wording import shift_alert
from streams.drift.telling import Telling
from streams.drift.wording import error_alert, estimate_alert, moment

_LOOKED_AT: Final = 50
"""While an error drift stands, whether it is over is asked once in so many labels."""
_VARIANT_AND_VERSION: Final = attrgetter("variant", "version")
_COUNTED: Final = (
    "events", "rejected", "copies", "predictions", "labels", "stale", "unreadable", "other_variant",
)  # fmt: skip


class DriftWatch:
    """Input, prediction and error drift of one stream and its model.

    A new version starts the error and prediction watches anew, and the input reference with them: what the
    version was taught on is its normal. Labels of answers by other versions do not count against it.
    """

    def __init__(self, name: str, config: Stream) -> None:
        model = config.model
        self.name = name
        self.model = (model.name or name) if model else ""
        self._drift = config.drift
        self._adopted_at = float("-inf")
        self._judges = model is not None
        # A regression's score is its answer: it says nothing of how likely that is right.
        self._numbers = model is not None and model.task is Task.REGRESSION
        self._telling = Telling(name, self.model, config.drift.cooldown, config.drift.hysteresis)
        self._intake = Intake(config, self._telling)
        self._prediction = PredictionWatch(config.drift.prediction, config.drift.hysteresis)
        self._error = ErrorWatch(config.drift.error)
        self._estimate = EstimateWatch(config.drift.estimate, config.drift.hysteresis)
        self._join = LabelJoin()
        self._counts = dict.fromkeys(_COUNTED, 0)

    def take(self, config: Stream) -> None:
        """Go on by another configuration of what is watched, with what is remembered.

        A threshold holds from the next window, block or label on; a watch whose memory is of no use under the
        other configuration begins anew, alone.
        """
        self._drift = drift = config.drift
        self._telling.take(drift.cooldown, drift.hysteresis)
        self._intake.take(config)
        self._prediction.take(drift.prediction, drift.hysteresis)
        self._error.take(drift.error)
        self._estimate.take(drift.estimate, drift.hysteresis)

    @property
    def _estimates(self) -> bool:
        return self._drift.estimate.enabled and not self._numbers

    @property
    def version(self) -> int:
        """The version that serves, as far as answers and swaps have told; 0 before the first."""
        return self._telling.version

    @property
    def windows(self) -> int:
        """How many windows of events were compared since the reference."""
        return self._intake.inputs.shift.windows

    def clean(self, batch: CleanBatch, now: datetime) -> list[DriftAlert]:
        """Take events; returns the alerts to write."""
        if not batch.events:
            return []
        self._counts["events"] += len(batch.events)
        self._telling.reached(float(batch.times.max()))
        return self._intake.clean(batch, now)

    def rejected(self, dead: Dead, now: datetime) -> list[DriftAlert]:
        """Take an event of this stream that was rejected; returns the alerts to write."""
        self._counts["rejected"] += 1
        return self._intake.rejected(dead, now)

    def dropped(self, copies: Copies, at: Coordinates, now: datetime) -> list[DriftAlert]:
        """Take how many events were dropped as copies; returns the alerts to write."""
        self._counts["copies"] += copies.dropped
        return self._intake.dropped(copies, at, now)

    def tick(self, now: datetime) -> list[DriftAlert]:
        """Look for sources that stopped sending; returns the alerts to write. Call it about once a second."""
        return self._intake.tick(now)

    def predicted(self, answers: Iterable[Answer], now: datetime) -> list[DriftAlert]:
        """Take answers; returns the alerts to write."""
        found = []
        for (variant, version), run in groupby(answers, key=_VARIANT_AND_VERSION):
            batch = AnswerBatch(list(run))
            if variant == "champion":
                found += self._answered(version, batch, now)
            else:
                self._counts["other_variant"] += len(batch.answers)
        return found

    def _answered(self, version: int, batch: AnswerBatch, now: datetime) -> list[DriftAlert]:
        """Take answers by one version of the champion."""
        self._counts["predictions"] += len(batch.answers)
        self._telling.reached(float(batch.times.max()))
        if version > self.version:
            self._adopt(version, float("-inf"))
        found = []
        if version == self.version:
            found = self._shifted(batch, now) if self._drift.prediction.enabled else []
            found += self._estimated(batch, now) if self._estimates else []
        return found + self._judge(self._join.predicted(batch), now)

    def _shifted(self, batch: AnswerBatch, now: datetime) -> list[DriftAlert]:
        """Compare what is answered with the reference; returns the alerts to write."""
        shift = self._prediction.update(batch, now.timestamp())
        found = []
        if shift is not None and self._telling.standing(Signal.PREDICTION) is None:
            alert = shift_alert(
                self._telling.subject,
                Signal.PREDICTION,
                shift,
                response=self._drift.on_prediction,
                now=now,
                classes=self._prediction.classes,
            )
            found = self._telling.raised(alert)
        return found + self._telling.calmed(Signal.PREDICTION, self._prediction.shift, now)

    def _estimated(self, batch: AnswerBatch, now: datetime) -> list[DriftAlert]:
        """Estimate the accuracy from the answers' scores; returns the alerts to write."""
        drop = self._estimate.update(batch)
        standing = self._telling.standing(Signal.ESTIMATE)
        if drop is not None and standing is None:
            response = self._drift.on_estimate
            return self._telling.raised(
                estimate_alert(self._telling.subject, drop, response=response, now=now)
            )
        if standing is None or self._estimate.estimate is None:
            return []
        if standing.version != self.version:
            why = f"v{self.version} took over; its own scores are calibrated now"
        elif self._estimate.quiet >= self._drift.hysteresis:
            why = "the estimate is back where it was"
        else:
            return []
        return self._telling.over(
            Signal.ESTIMATE, why, self._estimate.estimate, self._estimate.threshold(), now
        )

    def labelled(self, labels: Sequence[Label], now: datetime) -> list[DriftAlert]:
        """Take labels, early, late or unknown; returns the alerts to write."""
        self._counts["labels"] += len(labels)
        return self._judge(self._join.labelled(labels), now)

    def swapped(self, swap: Swap) -> None:
        """Take note of a change of version; a rollback is known by this alone."""
        at = swap.swapped_at.timestamp()
        if swap.outcome in ("swapped", "rolled_back") and 0 < swap.version != self.version:
            if swap.version > self.version:
                self._adopt(swap.version, float("-inf"))
            elif at > self._adopted_at:
                self._adopt(swap.version, at)

    def _adopt(self, version: int, at: float) -> None:
        first = self.version == 0
        self._telling.version = version
        self._adopted_at = at
        self._error.start()
        self._estimate.start()
        self._prediction.start()
        if not first:
            self._intake.inputs.start()

    def _judge(self, judged: Sequence[Judged], now: datetime) -> list[DriftAlert]:
        """Take answers with their truths; returns the alerts to write."""
        version, since = self.version, moment(max(0.0, self._adopted_at))
        fresh = [j for j in judged if j.answer.version == version and j.answer.predicted_at >= since]
        self._counts["stale"] += len(judged) - len(fresh)
        current = [j for j in fresh if j.right is not None]
        self._counts["unreadable"] += len(fresh) - len(current)
        if not self._judges:
            return []
        if self._estimates and self._estimate.learns:
            for one in current:
                self._estimate.judged(one.answer.score, not one.error)
        found = []
        while current:
            stands = self._telling.standing(Signal.ERROR) is not None
            taken, rise = self._error.update(current[:_LOOKED_AT] if stands else current)
            current = current[taken:]
            if stands or rise is not None:
                found += self._risen(rise, now)
        return found

    def _risen(self, rise: Rise | None, now: datetime) -> list[DriftAlert]:
        """Raise a rise of the error rate, or look whether a standing one is over, or was not undone."""
        detector: str = self._drift.error.detector
        standing = self._telling.standing(Signal.ERROR)
        if rise is None and standing is not None and standing.version != self.version:
            rise, detector = self._error.fell_short(), "baseline"
        found = []
        if rise is not None:
            if self._error.baseline is None:
                self._error.baseline = rise.before
            response = self._drift.on_error
            alert = error_alert(self._telling.subject, rise, detector=detector, response=response, now=now)
            found = self._telling.raised(alert)
        elif standing is not None and self._error.recovered():
            why = "the error rate is back where it was"
            found = self._telling.over(Signal.ERROR, why, *self._error.level(), now)
            self._error.baseline = None
        return found

    def seen(self, alert: DriftAlert) -> None:
        """Learn of an alert that was written before this watch remembers."""
        self._telling.policy.seen(alert, alert.window_to.timestamp())
        if alert.signal is Signal.ERROR:
            rate = alert.evidence.get("error_rate")
            self._error.baseline = None if alert.recovered or not rate else float(rate["before"])
        self._telling.version = max(self.version, alert.version)

    def levels(self, now: datetime) -> StreamLevels:
        """Return how near each signal is to its threshold."""
        watched: dict[Signal, Watched] = self._intake.watched
        if self._drift.prediction.enabled and self.model:
            watched[Signal.PREDICTION] = self._prediction.shift
        if self._estimates and self.model:
            watched[Signal.ESTIMATE] = self._estimate
        judges = self._judges and self._drift.error.detector != "off"
        policy = self._telling.policy
        answers, labels = self._join.waiting
        counters = {
            **self._counts,
            **self._join.counters,
            "late": self._intake.inputs.shift.late + self._prediction.shift.late,
            "grouped": policy.grouped,
            "metrics_left_out": self._intake.left_out,
            "remembered_answers": answers,
            "waiting_labels": labels,
        }
        standing = {signal: one.id for signal, one in policy.standing.items()}
        rate, before = self._error.rate(), self._error.before()
        return StreamLevels(
            stream=self.name,
            model=self.model,
            version=self.version,
            at=now,
            events=self._counts["events"],
            predictions=self._counts["predictions"],
            labels=self._counts["labels"],
            accuracy=None if rate is None else 1.0 - rate,
            baseline_accuracy=None if before is None else 1.0 - before,
            levels=levels_of(self._error if judges else None, watched, standing),
            counters=counters,
        )

    def snapshot(self) -> dict[str, Any]:
        """Return everything remembered, as plain values."""
        return {
            "telling": self._telling.snapshot(),
            "adopted_at": None if self._adopted_at == float("-inf") else self._adopted_at,
            "intake": self._intake.snapshot(),
            "prediction": self._prediction.snapshot(),
            "error": self._error.snapshot(),
            "estimate": self._estimate.snapshot(),
            "join": self._join.snapshot(),
            "counts": self._counts,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot of a watch with the same configuration."""
        self._telling.restore(state["telling"])
        self._adopted_at = float("-inf") if state["adopted_at"] is None else state["adopted_at"]
        self._intake.restore(state["intake"])
        self._prediction.restore(state["prediction"])
        self._error.restore(state["error"])
        self._estimate.restore(state["estimate"])
        self._join.restore(state["join"])
        self._counts = dict(state["counts"])
