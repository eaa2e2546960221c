"""One release on trial: consumes events that two versions answered, and their labels; finds what is worse.

It knows no engine, clock or network. Only where exactly one of the two is right, has an answer or is in time
does an event tell one from the other (Q. McNemar, Psychometrika 12, 1947); both answered the same events at
the same time, so that neither a drift nor a busy machine speaks against the new one. Where no event was
answered by both, shares are compared with those of the version before, just before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import log
from typing import Any, Final, NamedTuple

from schemas.label import is_right
from trainers.rollout.evidence import log_evidence

_CRITERIA: Final = 3
_HINT: Final = log(20.0)
"""Evidence of one in twenty: nothing is promoted against it, nor rolled back for it."""

_LATE: Final = 0.01
"""The share of answers that may take longer than a 99th percentile allows."""


class Side(NamedTuple):
    """What one version made of an event; `ms` is None where the answer was known before."""

    label: str
    failed: bool = False
    ms: float | None = None
    score: float = 0.0


class Pair(NamedTuple):
    """One event as the release on trial and the version that it is compared with answered it.

    Numbers are their sides' scores; they agree, and are right, within `tolerance`.
    """

    trial: Side
    other: Side
    tolerance: float | None = None

    @property
    def agreed(self) -> bool:
        """Tell whether both answered, and the same."""
        if self.trial.failed or self.other.failed:
            return False
        if self.tolerance is None:
            return self.trial.label == self.other.label
        return abs(self.trial.score - self.other.score) <= self.tolerance

    def right(self, truth: str) -> tuple[bool, bool] | None:
        """Tell whether each side is right; None where the truth says nothing of answers of this kind."""
        trial, other = (is_right(truth, one.label, one.score, self.tolerance) for one in self[:2])
        if trial is None or other is None:
            return None
        return trial and not self.trial.failed, other and not self.other.failed  # no answer is no 0


class Sample(NamedTuple):
    """What one version showed over a time: answers by label, failures, and times."""

    judged: int = 0
    right: int = 0
    answered: int = 0
    failed: int = 0
    timed: int = 0
    late: int = 0


class Terms(NamedTuple):
    """By what a trial is decided; without `labels` (anomaly models) answers alone decide."""

    significance: float
    min_labels: int
    p99_ms: float
    labels: bool = True


@dataclass
class Tally:
    """How often something bad befell one version alone: `worse` the one on trial, `better` the other."""

    of: int = 0
    trial: int = 0
    other: int = 0
    worse: int = 0
    better: int = 0

    def count(self, *, trial: bool, other: bool) -> None:
        """Count one event: whether it befell either."""
        self.of += 1
        self.trial += trial
        self.other += other
        self.worse += trial and not other
        self.better += other and not trial

    @property
    def evidence(self) -> float:
        """Return the logarithm of the evidence that the one on trial is worse."""
        return log_evidence(self.worse, self.worse + self.better, 0.5)

    def __str__(self) -> str:
        both = f"{self.trial} of {self.of}, the version before {self.other}"
        return f"{both}; alone {self.worse} and {self.better}"


@dataclass
class Trial:
    """Counts and decides; memory does not grow. The chance of a false rollback is `significance` at most."""

    terms: Terms
    errors: Tally = field(default_factory=Tally)
    failures: Tally = field(default_factory=Tally)
    late: Tally = field(default_factory=Tally)
    agreed: int = 0

    def answered(self, pairs: Sequence[Pair]) -> None:
        """Take events that both versions answered, known or not to be right."""
        budget = self.terms.p99_ms
        for pair in pairs:
            trial, other, _ = pair
            self.failures.count(trial=trial.failed, other=other.failed)
            self.agreed += pair.agreed
            if trial.ms is not None and other.ms is not None:
                self.late.count(trial=trial.ms > budget, other=other.ms > budget)

    def judged(self, judged: Sequence[tuple[bool, bool]]) -> None:
        """Take labelled events: whether the release on trial, and the other version, were right."""
        for trial, other in judged:
            self.errors.count(trial=not trial, other=not other)

    def worse(self) -> tuple[str, ...]:
        """Return for what the release is to be taken back; nothing where that cannot be told."""
        needed = log(_CRITERIA / self.terms.significance)
        found = []
        if self.errors.of >= self.terms.min_labels and self.errors.evidence >= needed:
            found.append(f"wrong answers: {self.errors}")
        if self.failures.evidence >= needed:
            found.append(f"no answer: {self.failures}")
        if self.late.evidence >= needed and log_evidence(self.late.trial, self.late.of, _LATE) >= needed:
            found.append(f"over {self.terms.p99_ms:g} ms: {self.late}")
        return tuple(found)

    def passed(self) -> bool:
        """Tell whether the release was seen enough, and nothing hints at its being worse."""
        seen = self.errors.of if self.terms.labels else self.failures.of
        tallies = (self.errors, self.failures, self.late)
        return seen >= self.terms.min_labels and all(tally.evidence < _HINT for tally in tallies)

    def evidence(self) -> dict[str, Any]:
        """Return the counts as plain values."""
        tallies = {"errors": self.errors, "failures": self.failures, "late": self.late}
        return {name: vars(tally) for name, tally in tallies.items()} | {"agreed": self.agreed}


def unpaired(before: Sample, since: Sample, terms: Terms) -> tuple[str, ...]:
    """Return for what a release is to be taken back where no event was answered by both versions.

    Half of the chance of an error goes into how well the shares of the version before are known, by their
    upper confidence bound (C. Clopper and E. Pearson, Biometrika 26, 1934), half into the release's being
    above it. What happens to the events themselves between the two times is taken for the release's doing.
    """
    each = terms.significance / _CRITERIA
    needed = log(2.0 / each)
    found = []
    wrong, wrong_before = since.judged - since.right, before.judged - before.right
    if (
        min(since.judged, before.judged) >= terms.min_labels
        and log_evidence(wrong, since.judged, upper(wrong_before, before.judged, each / 2)) >= needed
    ):
        found.append(f"wrong answers: {wrong} of {since.judged}; before {wrong_before} of {before.judged}")
    asked, asked_before = since.answered + since.failed, before.answered + before.failed
    if (
        asked_before
        and log_evidence(since.failed, asked, upper(before.failed, asked_before, each / 2)) >= needed
    ):
        found.append(f"no answer: {since.failed} of {asked}; before {before.failed} of {asked_before}")
    if before.timed:
        allowed = max(_LATE, upper(before.late, before.timed, each / 2))
        if log_evidence(since.late, since.timed, allowed) >= needed:
            told = f"{since.late} of {since.timed}; before {before.late} of {before.timed}"
            found.append(f"over {terms.p99_ms:g} ms: {told}")
    return tuple(found)


def upper(hits: int, of: int, doubt: float) -> float:
    """Return what the true share of hits exceeds with probability `doubt` at most; below 1."""
    from scipy.special import betaincinv

    return min(1.0 - 1e-9, float(betaincinv(hits + 1, of - hits, 1.0 - doubt)) if hits < of else 1.0)
