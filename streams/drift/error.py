"""Drift of the error rate: consumes judged answers of the serving version, finds when it rises."""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import log, sqrt
from statistics import NormalDist
from typing import Any, Final

from schemas.config import ErrorDrift
from streams.detectors.adwin import Adwin
from streams.detectors.ddm import Ddm
from streams.detectors.eddm import Eddm
from streams.detectors.ensemble import Ensemble
from streams.detectors.hddm_a import HddmA
from streams.detectors.hddm_w import HddmW
from streams.detectors.kswin import Kswin
from streams.detectors.page_hinkley import PageHinkley
from streams.detectors.protocol import ErrorDetector
from streams.detectors.vote import Vote
from streams.drift.answer import unpacked
from streams.drift.join import Judged, judged

DETECTORS: Final[dict[str, Callable[[float], ErrorDetector]]] = {
    "ensemble": Ensemble,
    "vote": Vote,
    "adwin": Adwin,
    "hddm_a": HddmA,
    "hddm_w": HddmW,
    "kswin": lambda delta: Kswin(delta, rises_only=True),
    "ddm": lambda _: Ddm(),
    "eddm": lambda _: Eddm(),
    "page_hinkley": lambda _: PageHinkley(),
}
_REMEMBERED: Final = 3000
_MARGIN: Final = 0.03
_EARLY: Final = 0.1


@dataclass(frozen=True)
class Rise:
    """The error rate rose from `before` to `after`; `threshold` is the rate that chance would not pass."""

    before: float
    after: float
    threshold: float
    since: float
    to: float
    labels: int
    first: Judged
    classes: dict[str, tuple[int, int]]  # truth: (errors, labels)
    examples: list[Judged]


class ErrorWatch:
    """One detector per serving version, and the newest 3,000 judged answers to say since when and of what.

    `baseline` is the error rate before the drift that stands; a new version is measured against it.
    """

    def __init__(self, config: ErrorDrift) -> None:
        self._config = config
        self._z = NormalDist().inv_cdf(1.0 - config.delta)
        self.baseline: float | None = None
        self.start()

    def take(self, config: ErrorDrift) -> None:
        """Go on by another configuration; another detector begins with the labels that come."""
        before, self._config = self._config, config
        self._z = NormalDist().inv_cdf(1.0 - config.delta)
        if (before.detector, before.delta) != (config.detector, config.delta):
            self.start()

    def start(self) -> None:
        """Begin with a new version: none of the old one's errors count."""
        make = DETECTORS.get(self._config.detector)
        self._detector = make(self._config.delta) if make else None
        self._recent: deque[Judged] = deque(maxlen=_REMEMBERED)
        self._pending = False
        self._missed = False
        self._since_rise: int | None = None  # labels since the newest rise of this version
        self.labels = 0

    @property
    def min_labels(self) -> int:
        """So many labels are waited for."""
        return self._config.min_labels

    def update(self, judged: Sequence[Judged]) -> tuple[int, Rise | None]:
        """Take judged answers up to the first rise; returns how many were taken, and the rise."""
        taken = 0
        while taken < len(judged):
            # One that was seen before there were labels enough is looked at as soon as there are.
            until = max(1, self.min_labels - self.labels) if self._pending else len(judged)
            rest = judged[taken : taken + until]
            detected = _first(self._detector, rest)
            count = len(rest) if detected is None else detected + 1
            self._recent.extend(rest[:count])
            self.labels += count
            if self._since_rise is not None:
                self._since_rise += count
            taken += count
            self._pending = self._pending or detected is not None
            if self._pending and self.labels >= self.min_labels:
                self._pending = False
                rise = self._rise()
                if rise is not None:
                    self._since_rise = 0
                    return taken, rise
        return taken, None

    def fell_short(self) -> Rise | None:
        """Return, once, the rise over the baseline that a version which took over did not undo."""
        if self.baseline is None or self._missed or self.labels < 2 * self._config.min_labels:
            return None
        self._missed = True
        judged = list(self._recent)
        limit = self._limit(self.baseline, len(judged))
        after = _rate(judged)
        return self._described(judged, judged, self.baseline, limit) if after > limit else None

    def recovered(self) -> bool:
        """Tell whether the newest labels are as good as before the drift that stands."""
        # A rise is found after a few labels: the newest ones are then mostly from before it.
        since = self.labels if self._since_rise is None else self._since_rise
        if self.baseline is None or since < self._config.min_labels:
            return False
        newest = self._newest()
        return _rate(newest) <= self._limit(self.baseline, len(newest))

    def level(self) -> tuple[float, float]:
        """Return the newest error rate and the rate that would be a drift."""
        newest = self._newest()
        before = self.before()
        if before is None:
            return _rate(newest), 1.0
        earlier = max(1, len(self._recent) - len(newest))
        return _rate(newest), self._bound(before, earlier, _rate(newest), max(1, len(newest)))

    def before(self) -> float | None:
        """Return the error rate to compare with: before the standing drift, else before the newest labels."""
        if self.baseline is not None:
            return self.baseline
        earlier = list(self._recent)[: -self._config.min_labels]
        return _rate(earlier) if earlier else None

    def rate(self) -> float | None:
        """Return the error rate of the newest labels."""
        return _rate(self._newest()) if self._recent else None

    def _newest(self) -> list[Judged]:
        wanted = self._config.min_labels
        return list(islice(reversed(self._recent), wanted))

    def _limit(self, baseline: float, labels: int) -> float:
        p = max(baseline, 1.0 / labels)
        return baseline + _MARGIN + self._z * sqrt(p * (1.0 - p) / labels)

    def _bound(self, before: float, n0: int, after: float, n1: int) -> float:
        """Return the rate that `n1` labels pass with probability delta: the pooled two-proportion z test."""
        pooled = min(max((before * n0 + after * n1) / (n0 + n1), 1.0 / (n0 + n1)), 0.5)
        return before + self._z * sqrt(pooled * (1.0 - pooled) * (1.0 / n0 + 1.0 / n1))

    def _rise(self) -> Rise | None:
        judged = list(self._recent)
        cut = change_point([j.error for j in judged])
        old, new = judged[:cut], judged[cut:]
        if not old or not new:
            return None
        before, after = _rate(old), _rate(new)
        threshold = self._bound(before, len(old), after, len(new))
        if after <= threshold:
            return None
        early = max(0, cut - max(5, int(_EARLY * len(new))))
        return self._described(judged[early:], new, before, threshold)

    def _described(self, drifted: list[Judged], new: list[Judged], before: float, threshold: float) -> Rise:
        # Labels come out of order: the 5 % quantile is early, and not as early as one straggler.
        times = sorted(j.answer.event_time.timestamp() for j in drifted)
        # Of classes it is told which ones; numbers are hardly ever the same twice.
        of_classes = [j for j in new if j.answer.tolerance is None]
        labels = Counter(j.truth for j in of_classes)
        errors = Counter(j.truth for j in of_classes if j.error)
        return Rise(
            before=before,
            after=_rate(new),
            threshold=threshold,
            since=times[len(times) // 20],
            to=times[-1],
            labels=len(new),
            first=new[0],
            classes={truth: (errors[truth], count) for truth, count in labels.most_common(20)},
            examples=[j for j in new if j.error][:5],
        )

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {
            "detector": self._detector.snapshot() if self._detector else None,
            "recent": [[j.answer.packed(), j.truth] for j in self._recent],
            "flags": [self._pending, self._missed],
            "since_rise": self._since_rise,
            "labels": self.labels,
            "baseline": self.baseline,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.start()
        if self._detector is not None and state["detector"] is not None:
            self._detector.restore(state["detector"])
        self._recent.extend(judged(unpacked(answer), truth) for answer, truth in state["recent"])
        self._pending, self._missed = state["flags"]
        self._since_rise = state["since_rise"]
        self.labels = state["labels"]
        self.baseline = state["baseline"]


def _first(detector: ErrorDetector | None, judged: Sequence[Judged]) -> int | None:
    """Return the index of the answer at which a detector finds a rise; what follows was not taken."""
    if detector is None:
        return None
    errors = [not one.right for one in judged]
    if isinstance(detector, Ensemble):
        return detector.update_many(errors)
    for index, error in enumerate(errors):
        detector.update(error)
        if detector.drift_detected:
            return index
    return None


def _rate(judged: list[Judged]) -> float:
    return sum(j.error for j in judged) / len(judged) if judged else 0.0


def change_point(errors: list[bool]) -> int:
    """Return the index at which the error rate most likely rose; 0 when it nowhere did.

    The split that maximises the likelihood of two Bernoulli rates (D. V. Hinkley, "Inference about the
    change-point from cumulative sums", Biometrika 58, 1971), among those where the later rate is higher.
    """
    total, errors_total = len(errors), sum(errors)
    best, best_gain, head = 0, 0.0, 0
    whole = _likelihood(errors_total, total)
    for cut in range(1, total):
        head += errors[cut - 1]
        tail = errors_total - head
        if tail * cut <= head * (total - cut):
            continue
        gain = _likelihood(head, cut) + _likelihood(tail, total - cut) - whole
        if gain > best_gain:
            best, best_gain = cut, gain
    return best


def _likelihood(errors: int, labels: int) -> float:
    """Return the log-likelihood of a Bernoulli sample at its own rate."""
    if errors in (0, labels):
        return 0.0
    p = errors / labels
    return errors * log(p) + (labels - errors) * log(1.0 - p)
