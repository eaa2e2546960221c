"""A stream's history through the live system's own parts: consumes recorded events, produces an Outcome.

    events.raw -> CleanPipeline -> Service -> DriftWatch -> Learning -> the next Service
                                      labels, when they come -^

Event time is the clock of everything: a training takes as much of it as it takes seconds here, or as it was
told to; none in a file whose rows have no times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Final

from infra.backtest.labels import Chooser, Judged, Queue
from infra.backtest.learners.protocol import Seen
from infra.backtest.live.events import Recorded
from infra.backtest.live.learning import Learning
from infra.backtest.live.retrained import Retrained
from infra.backtest.live.service import Service, judged
from infra.backtest.live.store import Store
from infra.backtest.outcome import Outcome
from infra.backtest.plan import Plan
from infra.backtest.replay import Progress
from infra.backtest.row import History, Problem, Row
from infra.backtest.score import Track, window_of
from infra.backtest.watch import Alert
from schemas import codec, topics
from schemas.clean import Clean
from schemas.config import Model, Stream
from schemas.copies import Copies
from schemas.dead import Dead
from schemas.drift import DriftAlert
from schemas.label import Label
from schemas.prediction import Prediction
from schemas.record import Coordinates
from streams.drift.answer import Answer
from streams.drift.batch import CleanBatch
from streams.drift.watch import DriftWatch
from streams.engines.memory import MemoryRecord
from streams.operators.pipeline import CleanPipeline
from trainers.encoder import Encoder

_BATCH: Final = 256
_RETRAINED_EVERY: Final = 500
_HEADERS: Final = ((("content-type", b"application/cloudevents+json")),)
_NOTHING: Final = Seen({}, {}, {})


@dataclass(frozen=True, slots=True)
class _Event:
    """A clean event, its place on `events.clean`, and its row."""

    clean: Clean
    at: Coordinates
    row: Row


class Live:
    """One stream with its model, from nothing: the first model is trained when there are labels enough."""

    def __init__(self, name: str, stream: Stream, model: Model, plan: Plan, home: Path, rows: int) -> None:
        window = window_of(rows)
        self._plan = plan
        self._home = home
        self._name = name
        self._pipeline = CleanPipeline({name: stream})
        self._watch = DriftWatch(name, stream)
        self._store = Store()
        self._learning = Learning(name, stream, model, home, self._store)
        self._learning.first_rows = max(model.learn.min_labels, plan.train_rows)
        self._queue = Queue(plan.delay)
        self._chooser = Chooser(plan.label_rate, plan.choice, plan.seed)
        self._service: Service | None = None
        self._first: Service | None = None
        self._encoders: dict[str, Encoder] = {}
        self._retrained = Retrained(name, stream, model, home, max(_RETRAINED_EVERY, rows // 10))
        self._events: dict[int, _Event] = {}
        self._last = ""
        self._now_s = float("-inf")  # event time
        self.outcome = Outcome(
            plan, f"stream {name}", History(), window, Track(window), past=self._learning.past
        )
        others = ("no_change", "frozen", "always_retrain") if plan.baselines else ("no_change",)
        self.outcome.baselines = {other: Track(window) for other in others}

    def run(self, events: Sequence[Recorded], history: History, progress: Progress) -> Outcome:
        """Send all events through; `history` has what could not be read, and gets the rows."""
        self.outcome.history = history
        if self._plan.training_s is not None or not history.timed:  # rows without times: it takes none
            self._learning.training_s = self._plan.training_s or 0.0
        began = perf_counter()
        now_s = float("-inf")
        for start in range(0, len(events), _BATCH):
            batch = events[start : start + _BATCH]
            now_s = max(now_s, *(event.at_s for event in batch))
            self._take(list(self._cleaned(batch, start, now_s)))
            silent = self._watch.tick(datetime.fromtimestamp(now_s, UTC))
            self._raised(silent, max(0, len(history.rows) - 1))
            progress(start + len(batch))
        self.outcome.seconds["total"] = perf_counter() - began
        self.outcome.compare()
        history.features = tuple(dict.fromkeys(name for row in history.rows for name in row.values))
        history.text = ("text",) if any(row.text for row in history.rows) else ()
        return self.outcome

    def _cleaned(self, batch: Sequence[Recorded], start: int, now_s: float) -> Iterator[_Event]:
        """Clean a batch; what is rejected becomes a problem of its line."""
        records = [
            MemoryRecord(
                topics.RAW.name, 0, start + number, int(event.at_s * 1000), None, event.event, _HEADERS
            )
            for number, event in enumerate(batch)
        ]
        history = self.outcome.history
        now = datetime.fromtimestamp(now_s, UTC)
        for out in self._pipeline.process(records, now).outgoing:
            if out.topic == topics.DEAD.name:
                dead = codec.decode(out.value, Dead)
                origin = batch[dead.raw.offset - start]
                says = f"{dead.reason.value}: {dead.message}"
                history.refuse(Problem(origin.file, origin.line, dead.field, says))
                self._raised(self._watch.rejected(dead, now), len(history.rows))
            elif out.topic == topics.COPIES.name:
                at = Coordinates(out.topic, 0, start)
                self._raised(self._watch.dropped(codec.decode(out.value, Copies), at, now), len(history.rows))
            elif out.topic == topics.CLEAN.name:
                clean = codec.decode(out.value, Clean)
                label = batch[clean.raw.offset - start].label
                number = len(history.rows)
                row = Row(number, clean.time.timestamp(), dict(clean.values), label, clean.text)
                history.rows.append(row)
                yield _Event(clean, Coordinates(topics.CLEAN.name, 0, number), row)

    def _take(self, events: Sequence[_Event]) -> None:
        """Answer a batch; where a model takes over within it, the rest is answered by that one."""
        left = list(events)
        while left:
            service = self._service
            answers = service.answer([(event.clean, event.at) for event in left]) if service else []
            others = self._ask_others([event.clean for event in left]) if service else {}
            for number, event in enumerate(left):
                told = {name: found[number] for name, found in others.items()}
                self._one(event, answers[number] if answers else None, told)
                if self._service is not service:
                    left = left[number + 1 :]
                    break
            else:
                return

    def _ask_others(self, events: Sequence[Clean]) -> dict[str, list[str]]:
        """Return the baselines' answers; what they learn within a batch serves from the next one on."""
        if not self._plan.baselines or self._first is None:
            return {}
        self._retrained.learn(self._store, self._encoders)
        frozen = [label for label, _ in judged(self._first.model, events)]
        return {"frozen": frozen, "always_retrain": self._retrained.answer(events)}

    def _one(self, event: _Event, answer: Prediction | None, others: dict[str, str]) -> None:
        row, now = event.row, event.clean.time
        self._labelled(row.number, row.at_s, row.number)
        self._raised(self._watch.clean(CleanBatch.of(event.clean, event.at), now), row.number)
        if answer is not None:
            self._raised(self._watch.predicted([Answer.of(answer)], now), row.number)
            self._score(row, answer.label, {"no_change": self._last, **others})
        judges = row.number >= self._plan.train_rows
        wanted, fair = self._chooser.wants(answer.score if answer else None) if judges else (True, False)
        if wanted and row.label:
            self._events[row.number] = event
            label = answer.label if answer else ""
            self._queue.put(Judged(row, _NOTHING, label, fair))
        if not self._plan.delay.seconds:
            self._labelled(row.number + 1, row.at_s, row.number)
        self._learn(row)

    def _score(self, row: Row, answer: str, others: dict[str, str]) -> None:
        if row.number >= self._plan.train_rows and row.label:
            self.outcome.track.add(row.number, row.label, answer)
            for name, other in others.items():
                self.outcome.baselines[name].add(row.number, row.label, other)

    def _labelled(self, number: int, at_s: float, newest: int) -> None:
        """Take the labels that came by now."""
        for late in self._queue.due(number, at_s):
            event = self._events.pop(late.row.number)
            self._last = late.row.label
            self.outcome.labels_used += late.row.number >= self._plan.train_rows
            self._store.add(event.clean, event.at, late.row.label)
            now = datetime.fromtimestamp(max(at_s, late.row.at_s), UTC)
            label = Label(
                stream=self._name,
                source=event.clean.source,
                id=event.clean.id,
                label=late.row.label,
                labelled_at=now,
                by="history",
            )
            self._raised(self._watch.labelled([label], now), newest)

    def _raised(self, alerts: Sequence[DriftAlert], row: int) -> None:
        for alert in alerts:
            if not alert.recovered:
                self.outcome.alerts.append(Alert(row, alert.signal.value, alert.detector, alert.summary))
            self._learning.alerted(alert)

    def _learn(self, row: Row) -> None:
        self._now_s = max(self._now_s, row.at_s)
        release = self._learning.step(row.number, datetime.fromtimestamp(self._now_s, UTC))
        if release is not None:
            self._service = Service(release, self._home, self._encoders)
            self._first = self._first or self._service
            self._watch.swapped(self._service.swapped(row.at_s, row.number + 1))
