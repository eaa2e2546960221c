"""The drift watch of one stream: consumes clean events, predictions, labels and swaps, produces alerts.

It knows no engine, clock or network: times come in as arguments, and everything it remembers is bounded.
"""

from datetime import datetime
from typing import Any, Protocol

from schemas.clean import Clean
from schemas.config import Stream
from schemas.dead import Dead
from schemas.drift import DriftAlert, Signal
from schemas.label import Label
from schemas.prediction import Prediction
from schemas.record import Coordinates
from schemas.release import Swap
from streams.drift.error import ErrorWatch
from streams.drift.estimate import EstimateWatch
from streams.drift.inputs import InputWatch, PredictionWatch
from streams.drift.join import Judged, LabelJoin
from streams.drift.levels import DriftLevel, StreamLevels
from streams.drift.policy import Policy
from streams.drift.quality import QualityWatch, Worse
from streams.drift.shift import ShiftWatch
from streams.drift.silence import SilenceWatch
from streams.drift.wording import (
    Subject,
    error_alert,
    estimate_alert,
    quality_alert,
    recovery,
    shift_alert,
    silence_alert,
)


class Watched(Protocol):
    """What a level is read from."""

    @property
    def readiness(self) -> float: ...
    @property
    def observations(self) -> int: ...
    def nearest(self) -> tuple[str, float, float]: ...


class DriftWatch:
    """Input, prediction and error drift of one stream and its model.

    A new version starts the error and prediction watches anew, and the input reference with them: what the
    version was taught on is its normal. Labels of answers by other versions do not count against it.
    """

    def __init__(self, name: str, config: Stream) -> None:
        model = config.model
        self.name = name
        self.model = (model.name or name) if model else ""
        self.version = 0
        self._drift = config.drift
        self._adopted_at = float("-inf")
        self._now = float("-inf")  # event time
        self._judges = model is not None
        self._input = InputWatch(config.kind, config.drift.input, config.drift.hysteresis)
        self._prediction = PredictionWatch(config.drift.prediction, config.drift.hysteresis)
        self._error = ErrorWatch(config.drift.error)
        self._estimate = EstimateWatch(config.drift.estimate, config.drift.hysteresis)
        self._quality = QualityWatch(config.drift.quality, config.drift.hysteresis)
        self._silence = SilenceWatch(config.drift.quality.silence)
        self._join = LabelJoin()
        self._policy = Policy(config.drift.cooldown)
        self._counts = dict.fromkeys(
            ("events", "rejected", "predictions", "labels", "stale", "other_variant"), 0
        )

    @property
    def _subject(self) -> Subject:
        return Subject(self.name, self.model, self.version)

    def clean(self, clean: Clean, at: Coordinates, now: datetime) -> list[DriftAlert]:
        """Take an event that lies at `at` on `events.clean`; returns the alerts to write."""
        self._counts["events"] += 1
        self._now = max(self._now, clean.time.timestamp())
        self._silence.seen(clean.source, now.timestamp())
        found = self._judged(self._quality.accepted(clean, at), now) if self._drift.quality.enabled else []
        if not self._drift.input.enabled:
            return found
        shift = self._input.update(clean, at, now.timestamp())
        if shift is not None and Signal.INPUT not in self._policy.standing:
            found += self._raise(
                shift_alert(self._subject, Signal.INPUT, shift, response=self._drift.on_input, now=now)
            )
        return found + self._calmed(Signal.INPUT, self._input.shift, now)

    def rejected(self, dead: Dead, now: datetime) -> list[DriftAlert]:
        """Take an event of this stream that was rejected; returns the alerts to write."""
        self._counts["rejected"] += 1
        if dead.source:
            self._silence.seen(dead.source, now.timestamp())
        return self._judged(self._quality.rejected(dead), now) if self._drift.quality.enabled else []

    def tick(self, now: datetime) -> list[DriftAlert]:
        """Look for sources that stopped sending; returns the alerts to write. Call it about once a second."""
        silent = self._silence.silent(now.timestamp())
        standing = self._policy.standing.get(Signal.SILENCE)
        after_s = self._drift.quality.silence
        if silent and standing is None:
            return self._raise(silence_alert(self._subject, silent, after_s, now))
        if not silent and standing is not None:
            return self._end(Signal.SILENCE, "nobody is silent", 0.0, after_s, now)
        return []

    def _judged(self, worse: list[Worse], now: datetime) -> list[DriftAlert]:
        """Raise the ratio that rose most, or end a standing one once all are quiet."""
        standing = self._policy.standing.get(Signal.QUALITY)
        if worse and standing is None:
            most = max(worse, key=lambda one: one.after - one.before)
            return self._raise(quality_alert(self._subject, most, response=self._drift.on_quality, now=now))
        if standing is not None and self._quality.quiet >= self._drift.hysteresis:
            why = "every ratio is back under its threshold"
            return self._end(Signal.QUALITY, why, standing.statistic, standing.threshold, now)
        return []

    def predicted(self, prediction: Prediction, now: datetime) -> list[DriftAlert]:
        """Take an answer; returns the alerts to write."""
        if prediction.variant != "champion":
            self._counts["other_variant"] += 1
            return []
        self._counts["predictions"] += 1
        self._now = max(self._now, prediction.event_time.timestamp())
        if prediction.version > self.version:
            self._adopt(prediction.version, float("-inf"))
        found = []
        if self._drift.prediction.enabled and prediction.version == self.version:
            shift = self._prediction.update(prediction, now.timestamp())
            if shift is not None and Signal.PREDICTION not in self._policy.standing:
                found = self._raise(
                    shift_alert(
                        self._subject,
                        Signal.PREDICTION,
                        shift,
                        response=self._drift.on_prediction,
                        now=now,
                        classes=self._prediction.classes,
                    )
                )
            found += self._calmed(Signal.PREDICTION, self._prediction.shift, now)
        if prediction.version == self.version:
            found += self._estimated(prediction, now)
        judged = self._join.predicted(prediction)
        return found + (self._judge(judged, now) if judged else [])

    def _estimated(self, prediction: Prediction, now: datetime) -> list[DriftAlert]:
        """Estimate the accuracy from an answer's score on; returns the alerts to write."""
        if not self._drift.estimate.enabled:
            return []
        drop = self._estimate.update(prediction)
        standing = self._policy.standing.get(Signal.ESTIMATE)
        if drop is not None and standing is None:
            return self._raise(estimate_alert(self._subject, drop, response=self._drift.on_estimate, now=now))
        if standing is None or self._estimate.estimate is None:
            return []
        if standing.version != self.version:
            why = f"v{self.version} took over; its own scores are calibrated now"
        elif self._estimate.quiet >= self._drift.hysteresis:
            why = "the estimate is back where it was"
        else:
            return []
        level = (self._estimate.estimate, self._estimate.threshold())
        return self._end(Signal.ESTIMATE, why, *level, now)

    def labelled(self, label: Label, now: datetime) -> list[DriftAlert]:
        """Take a label, early, late or unknown; returns the alerts to write."""
        self._counts["labels"] += 1
        judged = self._join.labelled(label)
        return self._judge(judged, now) if judged else []

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
        self.version = version
        self._adopted_at = at
        self._error.start()
        self._estimate.start()
        self._prediction.start()
        if not first:
            self._input.start()

    def _judge(self, judged: Judged, now: datetime) -> list[DriftAlert]:
        if judged.answer.version != self.version or judged.answer.predicted_at < self._adopted_at:
            self._counts["stale"] += 1
            return []
        if not self._judges:
            return []
        self._estimate.judged(judged.answer.score, not judged.error)
        rise = self._error.update(judged)
        detector: str = self._drift.error.detector
        standing = self._policy.standing.get(Signal.ERROR)
        if rise is None and standing is not None and standing.version != self.version:
            rise, detector = self._error.fell_short(), "baseline"
        found = []
        if rise is not None:
            if self._error.baseline is None:
                self._error.baseline = rise.before
            response = self._drift.on_error
            found = self._raise(
                error_alert(self._subject, rise, detector=detector, response=response, now=now)
            )
        elif standing is not None and self._error.recovered():
            found = self._end(Signal.ERROR, "the error rate is back where it was", *self._error.level(), now)
            self._error.baseline = None
        return found

    def _raise(self, alert: DriftAlert) -> list[DriftAlert]:
        verdict = self._policy.judge(alert, self._now)
        if not verdict.say:
            return []
        if verdict.cause:
            alert.evidence["cause"] = verdict.cause
        return [alert]

    def _calmed(self, signal: Signal, shift: ShiftWatch, now: datetime) -> list[DriftAlert]:
        """End a standing shift once enough windows were quiet, or a new version has its own reference."""
        standing = self._policy.standing.get(signal)
        if standing is None or shift.psi is None:
            return []
        _, statistic, threshold = shift.nearest()
        if standing.version != self.version and self.version:
            why = f"v{self.version} took over; what it sees now is its reference"
        elif shift.quiet >= self._drift.hysteresis:
            why = "everything is back under its threshold"
        else:
            return []
        return self._end(signal, why, statistic, threshold, now)

    def _end(
        self, signal: Signal, why: str, statistic: float, threshold: float, now: datetime
    ) -> list[DriftAlert]:
        standing = self._policy.standing.pop(signal)
        if not standing.said:
            return []
        measured = {"statistic": statistic, "threshold": threshold}
        return [recovery(self._subject, signal, standing.id, why, self._now, now, **measured)]

    def seen(self, alert: DriftAlert) -> None:
        """Learn of an alert that was written before this watch remembers."""
        self._policy.seen(alert, alert.window_to.timestamp())
        if alert.signal is Signal.ERROR:
            rate = alert.evidence.get("error_rate")
            self._error.baseline = None if alert.recovered or not rate else float(rate["before"])
        self.version = max(self.version, alert.version)

    def levels(self, now: datetime) -> StreamLevels:
        """Return how near each signal is to its threshold."""
        rate, before = self._error.rate(), self._error.before()
        levels = []
        if self._judges and self._drift.error.detector != "off":
            statistic, threshold = self._error.level()
            ready = min(1.0, self._error.labels / self._drift.error.min_labels)
            levels.append(
                self._level(Signal.ERROR, "error rate", statistic, threshold, ready, self._error.labels)
            )
        if self._drift.input.enabled:
            levels.append(self._level_of(Signal.INPUT, self._input.shift))
        if self._drift.prediction.enabled and self.model:
            levels.append(self._level_of(Signal.PREDICTION, self._prediction.shift))
        if self._drift.estimate.enabled and self.model:
            levels.append(self._level_of(Signal.ESTIMATE, self._estimate))
        if self._drift.quality.enabled:
            levels.append(self._level_of(Signal.QUALITY, self._quality))
        answers, labels = self._join.waiting
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
            levels=tuple(levels),
            counters={
                **self._counts,
                **self._join.counters,
                "late": self._input.shift.late + self._prediction.shift.late,
                "grouped": self._policy.grouped,
                "remembered_answers": answers,
                "waiting_labels": labels,
            },
        )

    def _level_of(self, signal: Signal, watch: Watched) -> DriftLevel:
        return self._level(signal, *watch.nearest(), watch.readiness, watch.observations)

    def _level(
        self, signal: Signal, name: str, statistic: float, threshold: float, ready: float, observations: int
    ) -> DriftLevel:
        standing = self._policy.standing.get(signal)
        return DriftLevel(
            signal=signal,
            name=name,
            statistic=statistic,
            threshold=threshold,
            readiness=ready,
            observations=observations,
            active=standing.id if standing else "",
        )

    def snapshot(self) -> dict[str, Any]:
        """Return everything remembered, as plain values."""
        times = (self._adopted_at, self._now)
        return {
            "version": self.version,
            "times": [None if t == float("-inf") else t for t in times],
            "input": self._input.snapshot(),
            "prediction": self._prediction.snapshot(),
            "error": self._error.snapshot(),
            "estimate": self._estimate.snapshot(),
            "quality": self._quality.snapshot(),
            "silence": self._silence.snapshot(),
            "join": self._join.snapshot(),
            "policy": self._policy.snapshot(),
            "counts": self._counts,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot of a watch with the same configuration."""
        self.version = state["version"]
        self._adopted_at, self._now = (float("-inf") if t is None else t for t in state["times"])
        self._input.restore(state["input"])
        self._prediction.restore(state["prediction"])
        self._error.restore(state["error"])
        self._estimate.restore(state["estimate"])
        self._quality.restore(state["quality"])
        self._silence.restore(state["silence"])
        self._join.restore(state["join"])
        self._policy.restore(state["policy"])
        self._counts = dict(state["counts"])
