"""The replay: consumes a history in fast-forward, produces what would have happened, row by row.

Event time is the clock. Each row is answered before its label is known (test, then train: A. P. Dawid, JRSS
A 147, 1984); its label comes after the delay, if it comes at all, and only then do detector and learner
hear of it. The accuracy counts every row whose truth the file has; what the learner may know of is counted
as labels used.
"""

from bisect import bisect_right
from collections.abc import Callable
from time import perf_counter
from typing import Final

from infra.backtest.baselines import Baseline, baselines
from infra.backtest.champion import Champion
from infra.backtest.inputs import Inputs
from infra.backtest.labels import Chooser, Judged, Queue
from infra.backtest.learners.choice import Make, chosen, maker
from infra.backtest.learners.context import Context
from infra.backtest.learners.protocol import Seen, best
from infra.backtest.outcome import Outcome
from infra.backtest.plan import DetectorName, ModelName, Plan
from infra.backtest.row import History, Row
from infra.backtest.score import Score, Track, window_of
from infra.backtest.vectors import Vectors
from infra.backtest.watch import ErrorBits

Progress = Callable[[int], None]
"""Told how many rows are done."""

_EVERY: Final = 200
_FROZEN_AT_LEAST: Final = 300
_FROZEN_AT_MOST: Final = 1000
_RETRAINED_EVERY: Final = 1000


def replay(history: History, plan: Plan, progress: Progress = lambda _rows: None) -> Outcome:
    """Replay a history as planned.

    Raises:
        Fatal: the history has not what the plan's model reads.
    """
    model = chosen(plan.model, history, plan.detector)
    run: _Inputs | _Errors | _Judging
    if plan.detector is DetectorName.MMD:
        run = _Inputs(history, plan)
    else:
        run = _Errors(history, plan) if model is ModelName.NONE else _Judging(history, plan, model)
    for row in history.rows:
        run.take(row)
        if row.number % _EVERY == 0:
            progress(row.number)
    progress(len(history.rows))
    run.outcome.compare()
    return run.outcome


class _Errors:
    """Error bits of somebody else's model, for the study of detectors."""

    def __init__(self, history: History, plan: Plan) -> None:
        window = window_of(len(history.rows))
        self.outcome = Outcome(plan, ModelName.NONE.value, history, window, Track(window))
        self._watch = ErrorBits(plan.errors_detector)

    def take(self, row: Row) -> None:
        """Take the next row's error bit."""
        wrong = bool(row.wrong)
        self.outcome.labels_used += 1
        self.outcome.track.add(row.number, "right", "wrong" if wrong else "right")
        if (alert := self._watch.update(row.number, wrong=wrong)) is not None:
            self.outcome.alerts.append(alert)


class _Inputs:
    """The numbers of rows, for the study of what comes in."""

    def __init__(self, history: History, plan: Plan) -> None:
        window = window_of(len(history.rows))
        self.outcome = Outcome(plan, ModelName.NONE.value, history, window, Track(window))
        self._watch = Vectors(history, plan.train_rows, plan.seed)

    def take(self, row: Row) -> None:
        """Take the next row's numbers."""
        if (alert := self._watch.update(row)) is not None:
            self.outcome.alerts.append(alert)


class _Judging:
    """A learner of ours, its detector and its baselines, over one history."""

    def __init__(self, history: History, plan: Plan, model: ModelName) -> None:
        make = maker(model, len(history.features), plan.seed)
        rows = len(history.rows)
        window = window_of(rows)
        self._plan = plan
        self._context = Context()
        self._champion = Champion(make, resets=plan.reset_on_alarm)
        self._watch = ErrorBits(plan.errors_detector)
        self._inputs = Inputs(history)
        self._queue = Queue(plan.delay)
        self._chooser = Chooser(plan.label_rate, plan.choice, plan.seed)
        self._others = _others(make if plan.baselines else None, plan, rows, window)
        self._files = _PerFile(history)
        self.outcome = Outcome(plan, model.value, history, window, Track(window), past=self._champion.past)
        self.outcome.baselines = {name: Track(window) for name in self._others}
        self.outcome.file_scores = self._files.scores
        self.outcome.seconds = {"model": 0.0, **dict.fromkeys(self._others, 0.0)}

    def take(self, row: Row) -> None:
        """Answer the next row, after the labels that came before it and before those that come with it."""
        if self._plan.delay.seconds:
            self._labelled(row.number, row.at_s)
        if (alert := self._inputs.update(row)) is not None:
            self.outcome.alerts.append(alert)
        began = perf_counter()
        seen = self._context.see(row)
        answer, confidence = best(self._champion.shares(seen, row.number))
        self.outcome.seconds["model"] += perf_counter() - began
        judged = row.number >= self._plan.train_rows
        if judged and row.label:
            self.outcome.track.add(row.number, row.label, answer)
            self._files.add(row, answer)
        self._ask_others(row, seen, judged=judged)
        if not judged:
            self._learn(Judged(row, seen, answer, fair=False), row.number)
            return
        wanted, fair = self._chooser.wants(confidence)
        if row.label and wanted:
            self._queue.put(Judged(row, seen, answer, fair))
        if not self._plan.delay.seconds:
            self._labelled(row.number + 1, row.at_s)

    def _ask_others(self, row: Row, seen: Seen, *, judged: bool) -> None:
        for name, other in self._others.items():
            began = perf_counter()
            answer = other.answer(seen)
            self.outcome.seconds[name] += perf_counter() - began
            if judged and row.label:
                self.outcome.baselines[name].add(row.number, row.label, answer)

    def _labelled(self, number: int, at_s: float) -> None:
        """Take the labels that came by now."""
        for judged in self._queue.due(number, at_s):
            self._learn(judged, number - 1)

    def _learn(self, judged: Judged, newest: int) -> None:
        """Hear of a label: first whether the answer was wrong, then the truth."""
        if not judged.row.label:
            return
        self.outcome.labels_used += judged.row.number >= self._plan.train_rows
        began = perf_counter()
        if judged.fair and judged.answer:
            wrong = judged.answer != judged.row.label
            if (alert := self._watch.update(newest, wrong=wrong)) is not None:
                self.outcome.alerts.append(alert)
                self._champion.alarm(newest)
        self._champion.learn(judged, newest)
        self._context.told(judged.row, judged.row.label)
        self.outcome.seconds["model"] += perf_counter() - began
        for name, other in self._others.items():
            began = perf_counter()
            other.learn(judged)
            self.outcome.seconds[name] += perf_counter() - began


def _others(make: Make | None, plan: Plan, rows: int, window: int) -> dict[str, Baseline]:
    """Return the baselines; the frozen one learns the rows to train on, else the first tenth or thousand."""
    first = plan.train_rows or max(_FROZEN_AT_LEAST, min(_FROZEN_AT_MOST, rows // 10))
    return baselines(make, first=first, every=max(window, min(_RETRAINED_EVERY, rows // 10)))


class _PerFile:
    """The scores on each file, for histories that lie in several."""

    def __init__(self, history: History) -> None:
        self._begins = [begin for _, begin in history.files]
        self.scores = [Score() for _ in self._begins]

    def add(self, row: Row, answer: str) -> None:
        """Count a row for its file."""
        if self._begins:
            self.scores[bisect_right(self._begins, row.number) - 1].add(row.label, answer)
