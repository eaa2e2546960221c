"""A trial's records and labels brought together: consumes `predictions.shadow` and `labels`, in any order.

Bounded on both sides: what is pushed out is not judged. An event is judged once, by its first label, or by
the newest of those that came before its answers.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from schemas.label import Label
from schemas.release import Release
from schemas.shadow import Shadow
from trainers.rollout.trial import Pair, Side, Terms, Trial

_MAX_PAIRS: Final = 50_000
_MAX_LABELS: Final = 50_000

Key = tuple[str, str]


class Comparison:
    """What is known of one stream: early labels, and the trial of the release at hand."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._release: Release | None = None
        self._pairs: OrderedDict[Key, Pair | None] = OrderedDict()  # None: judged
        self._labels: OrderedDict[Key, Label] = OrderedDict()
        self.trial = Trial(terms)

    def take(self, terms: Terms) -> None:
        """Decide by other terms from the next trial on: a bet's terms are fixed before it."""
        self._terms = terms

    @property
    def release(self) -> Release | None:
        """Return the release on trial."""
        return self._release

    def put_on_trial(self, release: Release | None) -> None:
        """Begin anew with a release, unless it is the one on trial, in the same stage."""
        before = self._release
        same = before and release and (before.sha256, before.rollout) == (release.sha256, release.rollout)
        self._release = release
        if not same:
            self._pairs.clear()
            self.trial = Trial(self._terms)

    def answered(self, shadows: Sequence[Shadow]) -> None:
        """Take events that two versions answered; those of other trials are left out."""
        for shadow in shadows:
            key = (shadow.source, shadow.id)
            pair = self._pair(shadow)
            if pair is None or key in self._pairs:
                continue
            self.trial.answered([pair])
            label = self._labels.pop(key, None)
            self._pairs[key] = pair if label is None else None
            if label is not None:
                self._judge(pair, label)
            if len(self._pairs) > _MAX_PAIRS:
                self._pairs.popitem(last=False)

    def labelled(self, labels: Sequence[Label]) -> None:
        """Take labels, of events that were answered or are yet to be."""
        for label in labels:
            key = (label.source, label.id)
            pair = self._pairs.get(key)
            if pair is not None:
                self._pairs[key] = None
                self._judge(pair, label)
            elif key not in self._pairs:
                waiting = self._labels.get(key)
                if waiting is None or waiting.labelled_at <= label.labelled_at:
                    self._labels[key] = label
                if len(self._labels) > _MAX_LABELS:
                    self._labels.popitem(last=False)

    def _pair(self, shadow: Shadow) -> Pair | None:
        """Return both sides of a record of this trial, the release's first."""
        release = self._release
        if release is None or release.rollout is None:
            return None
        terms = release.rollout
        if shadow.stage is not terms.stage or shadow.answered_at < terms.since:
            return None
        times = (
            None if shadow.cached else shadow.inference_ms,
            None if shadow.served_cached else shadow.served_ms,
        )
        aside = Side(shadow.label, bool(shadow.problem), times[0], shadow.score)
        served = Side(shadow.served_label, bool(shadow.served_problem), times[1], shadow.served_score)
        if (shadow.sha256, shadow.served_sha256) == (release.sha256, terms.against_sha256):
            return Pair(aside, served, shadow.tolerance)
        if (shadow.served_sha256, shadow.sha256) == (release.sha256, terms.against_sha256):
            return Pair(served, aside, shadow.tolerance)
        return None

    def _judge(self, pair: Pair, label: Label) -> None:
        right = pair.right(label.label)
        if right is not None:
            self.trial.judged([right])
