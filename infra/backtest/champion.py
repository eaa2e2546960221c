"""The model in service: consumes judged rows and alarms, produces answers, releases and rollbacks.

An alarm asks for a challenger: a fresh learner, taught the labels since the error rate rose. It answers
beside the champion until a paired test (Q. McNemar, Psychometrika 12, 1947, exact) says that it is better,
and then takes over; the one before goes on beside it as long, and comes back if it turns out to have been
the better one.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

from infra.backtest.labels import Judged
from infra.backtest.learners.choice import Make
from infra.backtest.learners.protocol import Learner, Seen, Shares, best

TRIAL: Final = 1000
"""Labels after which a trial ends."""

_REMEMBERED: Final = 3000
_AT_LEAST: Final = 30
_CHECKED_EVERY: Final = 25
_SIGNIFICANCE: Final = 0.05


@dataclass
class Past:
    """What happened to the model: trainings, releases, rejections and rollbacks, by the row of each.

    `waits` are the trainings of a stream that were put off, for quiet hours or a spent budget.
    """

    trainings: list[dict[str, Any]] = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)
    rejections: list[dict[str, Any]] = field(default_factory=list)
    rollbacks: list[dict[str, Any]] = field(default_factory=list)
    waits: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class _Rival:
    """A learner that answers beside the champion: a challenger, or the champion before this one."""

    learner: Learner
    version: int
    challenges: bool
    answers: dict[int, str] = field(default_factory=dict)
    labels: int = 0
    better: int = 0
    worse: int = 0


class Champion:
    """One learner in service and at most one beside it. Memory: theirs, and the newest 3,000 judged rows."""

    def __init__(self, make: Make, *, resets: bool) -> None:
        self._make = make
        self._resets = resets
        self._learner = make()
        self.version = 1
        self._newest_version = 1
        self._rival: _Rival | None = None
        self._recent: deque[Judged] = deque(maxlen=_REMEMBERED)
        self.past = Past()

    def shares(self, seen: Seen, number: int) -> Shares:
        """Answer a row."""
        if self._rival is not None:
            self._rival.answers[number] = best(self._rival.learner.shares(seen))[0]
        return self._learner.shares(seen)

    def learn(self, judged: Judged, now: int) -> None:
        """Take a label that came when the row `now` was the newest."""
        self._recent.append(judged)
        self._learner.learn(judged.seen, judged.row.label)
        if self._rival is not None:
            self._compare(self._rival, judged, now)

    def alarm(self, now: int) -> None:
        """Answer an alarm: with a fresh learner at once, or with a challenger."""
        if self._resets:
            self._newest_version += 1
            self.version, self._learner = self._newest_version, self._make()
            self.past.releases.append({"row": now, "version": self.version, "why": "reset"})
            return
        if self._rival is not None and self._rival.challenges:
            return  # of the same cause
        rows = self._since_the_rise()
        began = perf_counter()
        learner = self._make()
        for judged in rows:
            learner.learn(judged.seen, judged.row.label)
        self._newest_version += 1
        self._rival = _Rival(learner, self._newest_version, challenges=True)
        self.past.trainings.append(
            {
                "row": now,
                "version": self._newest_version,
                "labels": len(rows),
                "seconds": round(perf_counter() - began, 3),
            }
        )

    def _since_the_rise(self) -> Sequence[Judged]:
        """Return the judged rows since the error rate most likely rose, or the newest hundred."""
        from streams.drift.error import change_point

        rows = list(self._recent)
        cut = change_point([judged.answer != judged.row.label for judged in rows])
        return rows[min(cut, max(0, len(rows) - 100)) :] if cut else rows[-100:]

    def _compare(self, rival: _Rival, judged: Judged, now: int) -> None:
        answer = rival.answers.pop(judged.row.number, None)
        rival.learner.learn(judged.seen, judged.row.label)
        if answer is None:  # the row was answered before the trial began
            return
        rival.labels += 1
        truth = judged.row.label
        rival.better += answer == truth != judged.answer
        rival.worse += judged.answer == truth != answer
        over = rival.labels >= TRIAL
        if over or (rival.labels >= _AT_LEAST and rival.labels % _CHECKED_EVERY == 0):
            # Looked at many times, a trial is decided by chance more often: each look has its part.
            looks = TRIAL // _CHECKED_EVERY
            self._decide(rival, now, significance=_SIGNIFICANCE if over else _SIGNIFICANCE / looks, over=over)

    def _decide(self, rival: _Rival, now: int, *, significance: float, over: bool) -> None:
        chance = mcnemar(rival.better, rival.worse)
        shown = {"better": rival.better, "worse": rival.worse, "labels": rival.labels, "p": round(chance, 6)}
        if chance < significance:
            beaten = _Rival(self._learner, self.version, challenges=False)
            self._learner, self.version = rival.learner, rival.version
            self._rival = beaten if rival.challenges else None
            kept = self.past.releases if rival.challenges else self.past.rollbacks
            kept.append({"row": now, "version": rival.version, **shown})
        elif over:
            self._rival = None
            if rival.challenges:
                self.past.rejections.append({"row": now, "version": rival.version, **shown})


def mcnemar(better: int, worse: int) -> float:
    """Return the one-sided exact p-value of "no better" by the rows on which exactly one of two was right."""
    from scipy.stats import binomtest

    if not better + worse:
        return 1.0
    return float(binomtest(better, better + worse, 0.5, alternative="greater").pvalue)
