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
from schemas.dead import Dead
from schemas.drift import DriftAlert, Signal
from schemas.label import Label
from schemas.release import Swap
from streams.drift.answer import Answer
from streams.drift.batch import AnswerBatch, CleanBatch
from streams.drift.error import ErrorWatch, Rise
from streams.drift.estimate import EstimateWatch
from streams.drift.inputs import InputWatch, PredictionWatch
from streams.drift.join import Judged, LabelJoin
from streams.drift.levels import StreamLevels
from streams.drift.overview import Watched, levels_of
from streams.drift.policy import Policy
from streams.drift.quality import QualityWatch, Worse
from streams.drift.shift import ShiftWatch
from streams.drift.shift_wording import shift_alert
from streams.drift.silence import SilenceWatch
from streams.drift.wording import (
    Subject,
    error_alert,
    estimate_alert,
    moment,
    quality_alert,
    recovery,
    silence_alert,
)

_LOOKED_AT: Final = 50
"""While an error drift stands, whether it is over is asked once in so many labels."""
_VARIANT_AND_VERSION: Final = attrgetter("variant", "version")


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
    def windows(self) -> int:
        """How many windows of events were compared since the reference."""
        return self._input.shift.windows

    @property
    def _subject(self) -> Subject:
        return Subject(self.name, self.model, self.version)

    def clean(self, batch: CleanBatch, now: datetime) -> list[DriftAlert]:
        """Take events; returns the alerts to write."""
        if not batch.events:
            return []
        self._counts["events"] += len(batch.events)
        self._now = max(self._now, float(batch.times.max()))
        if self._drift.quality.silence:
            self._silence.seen({clean.source for clean in batch.events}, now.timestamp())
        found = self._judged(self._quality.accepted(batch), now) if self._drift.quality.enabled else []
        if not self._drift.input.enabled:
            return found
        shift = self._input.update(batch, now.timestamp())
        if shift is not None and Signal.INPUT not in self._policy.standing:
            found += self._raise(
                shift_alert(self._subject, Signal.INPUT, shift, response=self._drift.on_input, now=now)
            )
        return found + self._calmed(Signal.INPUT, self._input.shift, now)

    def rejected(self, dead: Dead, now: datetime) -> list[DriftAlert]:
        """Take an event of this stream that was rejected; returns the alerts to write."""
        self._counts["rejected"] += 1
        if dead.source:
            self._silence.seen((dead.source,), now.timestamp())
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
        self._now = max(self._now, float(batch.times.max()))
        if version > self.version:
            self._adopt(version, float("-inf"))
        found = []
        if version == self.version:
            found = self._shifted(batch, now) if self._drift.prediction.enabled else []
            found += self._estimated(batch, now)
        return found + self._judge(self._join.predicted(batch), now)

    def _shifted(self, batch: AnswerBatch, now: datetime) -> list[DriftAlert]:
        """Compare what is answered with the reference; returns the alerts to write."""
        shift = self._prediction.update(batch, now.timestamp())
        found = []
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
        return found + self._calmed(Signal.PREDICTION, self._prediction.shift, now)

    def _estimated(self, batch: AnswerBatch, now: datetime) -> list[DriftAlert]:
        """Estimate the accuracy from the answers' scores; returns the alerts to write."""
        if not self._drift.estimate.enabled:
            return []
        drop = self._estimate.update(batch)
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
        self.version = version
        self._adopted_at = at
        self._error.start()
        self._estimate.start()
        self._prediction.start()
        if not first:
            self._input.start()

    def _judge(self, judged: Sequence[Judged], now: datetime) -> list[DriftAlert]:
        """Take answers with their truths; returns the alerts to write."""
        version, since = self.version, moment(max(0.0, self._adopted_at))
        current = [j for j in judged if j.answer.version == version and j.answer.predicted_at >= since]
        self._counts["stale"] += len(judged) - len(current)
        if not self._judges:
            return []
        if self._estimate.learns:
            for one in current:
                self._estimate.judged(one.answer.score, not one.error)
        found = []
        while current:
            stands = Signal.ERROR in self._policy.standing
            taken, rise = self._error.update(current[:_LOOKED_AT] if stands else current)
            current = current[taken:]
            if stands or rise is not None:
                found += self._risen(rise, now)
        return found

    def _risen(self, rise: Rise | None, now: datetime) -> list[DriftAlert]:
        """Raise a rise of the error rate, or look whether a standing one is over, or was not undone."""
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
        if standing is None or shift.comparison is None:
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
        watched: dict[Signal, Watched] = {}
        if self._drift.input.enabled:
            watched[Signal.INPUT] = self._input.shift
        if self._drift.prediction.enabled and self.model:
            watched[Signal.PREDICTION] = self._prediction.shift
        if self._drift.estimate.enabled and self.model:
            watched[Signal.ESTIMATE] = self._estimate
        if self._drift.quality.enabled:
            watched[Signal.QUALITY] = self._quality
        judges = self._judges and self._drift.error.detector != "off"
        answers, labels = self._join.waiting
        counters = {
            **self._counts,
            **self._join.counters,
            "late": self._input.shift.late + self._prediction.shift.late,
            "grouped": self._policy.grouped,
            "remembered_answers": answers,
            "waiting_labels": labels,
        }
        standing = {signal: one.id for signal, one in self._policy.standing.items()}
        levels = levels_of(self._error if judges else None, watched, standing)
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
            levels=levels,
            counters=counters,
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
