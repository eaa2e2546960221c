"""The watch of what comes in, whatever model judges it: consumes events, kept or not, produces alerts."""

from datetime import datetime
from typing import Any

from schemas.config import Stream
from schemas.copies import Copies
from schemas.dead import Dead
from schemas.drift import DriftAlert, Signal
from schemas.record import Coordinates
from streams.drift.batch import CleanBatch
from streams.drift.inputs import InputWatch
from streams.drift.novelty import NoveltyWatch
from streams.drift.overview import Watched
from streams.drift.quality import QualityWatch
from streams.drift.ratios import Worse
from streams.drift.shift_wording import shift_alert
from streams.drift.silence import SilenceWatch
from streams.drift.telling import Telling
from streams.drift.wording import novelty_alert, quality_alert, silence_alert


class Intake:
    """Input drift, quality, new readings and silent sources of one stream."""

    def __init__(self, config: Stream, telling: Telling) -> None:
        self._drift = config.drift
        self._telling = telling
        self.inputs = InputWatch(config.kind, config.drift.input, config.drift.hysteresis)
        self._quality = QualityWatch(config.drift.quality, config.drift.hysteresis)
        self._silence = SilenceWatch(config.drift.quality.silence)
        self._novelty = NoveltyWatch(config.drift.novelty)

    def take(self, config: Stream) -> None:
        """Go on by another configuration, with what is remembered."""
        self._drift = config.drift
        self.inputs.take(config.drift.input, config.drift.hysteresis)
        self._quality.take(config.drift.quality, config.drift.hysteresis)
        self._silence.take(config.drift.quality.silence)
        self._novelty.take(config.drift.novelty)

    @property
    def watched(self) -> dict[Signal, Watched]:
        """What levels are read from."""
        found: dict[Signal, Watched] = {}
        if self._drift.input.enabled:
            found[Signal.INPUT] = self.inputs.shift
        if self._drift.quality.enabled:
            found[Signal.QUALITY] = self._quality
        if self._drift.novelty.enabled:
            found[Signal.NOVELTY] = self._novelty
        return found

    @property
    def left_out(self) -> int:
        """Readings of metrics that are not watched for novelty, for want of a place."""
        return self._novelty.left_out

    def clean(self, batch: CleanBatch, now: datetime) -> list[DriftAlert]:
        """Take events; returns the alerts to write."""
        if self._drift.quality.silence:
            self._silence.seen({clean.source for clean in batch.events}, now.timestamp())
        found = self._judged(self._quality.accepted(batch), now) if self._drift.quality.enabled else []
        if self._drift.novelty.enabled:
            found += self._rated(batch, now)
        if not self._drift.input.enabled:
            return found
        shift = self.inputs.update(batch, now.timestamp())
        if shift is not None and self._telling.standing(Signal.INPUT) is None:
            response = self._drift.on_input
            alert = shift_alert(self._telling.subject, Signal.INPUT, shift, response=response, now=now)
            found += self._telling.raised(alert)
        return found + self._telling.calmed(Signal.INPUT, self.inputs.shift, now)

    def _rated(self, batch: CleanBatch, now: datetime) -> list[DriftAlert]:
        """Raise the newest of all readings, or end what stands once nothing is new any more."""
        novel = self._novelty.update(batch)
        standing = self._telling.standing(Signal.NOVELTY)
        if novel and standing is None:
            most = max(novel, key=lambda one: one.score)
            return self._telling.raised(novelty_alert(self._telling.subject, most, now))
        if standing is not None and self._novelty.quiet:
            why = "readings are as they were before"
            _, score, threshold = self._novelty.nearest()
            return self._telling.over(Signal.NOVELTY, why, score, threshold, now)
        return []

    def rejected(self, dead: Dead, now: datetime) -> list[DriftAlert]:
        """Take an event that was rejected; returns the alerts to write."""
        if dead.source:
            self._silence.seen((dead.source,), now.timestamp())
        return self._judged(self._quality.rejected(dead), now) if self._drift.quality.enabled else []

    def dropped(self, copies: Copies, at: Coordinates, now: datetime) -> list[DriftAlert]:
        """Take how many events were dropped as copies; returns the alerts to write."""
        return self._judged(self._quality.dropped(copies, at), now) if self._drift.quality.enabled else []

    def tick(self, now: datetime) -> list[DriftAlert]:
        """Look for sources that stopped sending; returns the alerts to write."""
        silent = self._silence.silent(now.timestamp())
        standing = self._telling.standing(Signal.SILENCE)
        after_s = self._drift.quality.silence
        if silent and standing is None:
            return self._telling.raised(silence_alert(self._telling.subject, silent, after_s, now))
        if not silent and standing is not None:
            return self._telling.over(Signal.SILENCE, "nobody is silent", 0.0, after_s, now)
        return []

    def _judged(self, worse: list[Worse], now: datetime) -> list[DriftAlert]:
        """Raise the ratio that rose most, or end a standing one once all are quiet."""
        standing = self._telling.standing(Signal.QUALITY)
        if worse and standing is None:
            most = max(worse, key=lambda one: one.after - one.before)
            alert = quality_alert(self._telling.subject, most, response=self._drift.on_quality, now=now)
            return self._telling.raised(alert)
        if standing is not None and self._quality.quiet >= self._drift.hysteresis:
            why = "every ratio is back under its threshold"
            return self._telling.over(Signal.QUALITY, why, standing.statistic, standing.threshold, now)
        return []

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "input": self.inputs.snapshot(),
            "quality": self._quality.snapshot(),
            "silence": self._silence.snapshot(),
            "novelty": self._novelty.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.inputs.restore(state["input"])
        self._quality.restore(state["quality"])
        self._silence.restore(state["silence"])
        self._novelty.restore(state["novelty"])
