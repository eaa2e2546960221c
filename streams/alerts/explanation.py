"""What an alert's evidence says, part by part: consumes the JSON of `DriftAlert.evidence`, produces values.

Shared by all who show an alert: its page, the terminal, the backtest's report. What the evidence does not
say is empty, and what it says in another form than ours is left out: an older alert is still explained.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any, Final

from schemas.drift import DriftAlert

_MOST: Final = 25
_MOST_BINS: Final = 128
_MOST_READINGS: Final = 512
_CHANGES: Final = {"error_rate": "error rate", "accuracy": "accuracy that the scores let expect"}
RATIOS: Final = {
    "rejected": "events rejected",
    "missing": "events that lack a reading",
    "outlier": "events with an outlier",
    "repaired": "events that had to be repaired",
    "late": "events that come late",
    "new_field": "events with a field that none had",
    "absent_field": "events without a field that all had",
}


@dataclass(frozen=True)
class Tested:
    """What one test said of a feature; without a threshold it was only measured."""

    name: str
    statistic: float
    threshold: float | None = None

    @property
    def over(self) -> float:
        """The statistic as a multiple of its threshold; 0 without one."""
        return self.statistic / self.threshold if self.threshold and self.threshold > 0 else 0.0


@dataclass(frozen=True)
class Histogram:
    """Shares of the events in the same bins, before and after."""

    bins: tuple[str, ...]
    before: tuple[float, ...]
    after: tuple[float, ...]

    @property
    def numeric(self) -> bool:
        """Whether the bins are intervals of a number, or else the names of classes."""
        return self.bins[0].startswith("≤ ")

    @property
    def most(self) -> int:
        """The bin whose share changed most."""
        return max(range(len(self.bins)), key=lambda at: abs(self.after[at] - self.before[at]))

    def used(self) -> "Histogram":
        """Return it without classes that nobody had, nor the ends of a scale where nothing lies."""
        ends = {0, len(self.bins) - 1} if len(self.bins) > 3 else set()
        kept = [
            at
            for at in range(len(self.bins))
            if self.before[at] or self.after[at] or (self.numeric and at not in ends)
        ]
        return self.only(kept or list(range(len(self.bins))))

    def only(self, kept: list[int]) -> "Histogram":
        """Return the bins with these numbers."""
        return Histogram(
            tuple(self.bins[at] for at in kept),
            tuple(self.before[at] for at in kept),
            tuple(self.after[at] for at in kept),
        )


@dataclass(frozen=True)
class Feature:
    """One feature that moved. `before` and `after` are means, `contribution` its share of the whole shift."""

    name: str
    before: float | None
    after: float | None
    tests: tuple[Tested, ...]
    histogram: Histogram | None
    contribution: float = 0.0

    @property
    def over(self) -> float:
        """How often it passed the threshold of the test that it passed furthest."""
        return max((test.over for test in self.tests), default=0.0)


@dataclass(frozen=True)
class Pair:
    """A share before and after; None where it is not known. `note` says of how many."""

    name: str
    before: float | None
    after: float
    note: str = ""


@dataclass(frozen=True)
class Joint:
    """All features together: a multivariate test, and how many events it runs without a false alarm."""

    statistic: float
    threshold: float | None
    expected_run_time: float | None


@dataclass(frozen=True)
class Metric:
    """A reading of one source that is as it never was, and the readings before it, oldest first."""

    source: str
    reading: str
    value: float
    before: tuple[float, ...]


@dataclass(frozen=True)
class Explanation:
    """Everything that an alert's evidence says. `change` is the watched rate itself."""

    change: Pair | None = None
    calibrated_with: int = 0
    features: tuple[Feature, ...] = ()
    tokens: tuple[Pair, ...] = ()
    classes: tuple[Pair, ...] = ()
    joint: Joint | None = None
    metric: Metric | None = None
    details: tuple[tuple[str, int], ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    examples: tuple[dict[str, str], ...] = ()
    first: str = ""
    cause: str = ""


@dataclass(frozen=True)
class Over:
    """That an alert is over: when this was noticed, and why it is taken to be."""

    at: datetime
    why: str


def over(alert: DriftAlert, notices: Mapping[str, DriftAlert]) -> Over | None:
    """Return how an alert ended, from the recovery notices by the id of the alert that each ends."""
    notice = notices.get(alert.id)
    return None if notice is None else Over(notice.raised_at, notice.summary)


def ended(notice: DriftAlert) -> str:
    """Return the id of the alert that a recovery notice ends."""
    return _text(notice.evidence.get("alert"))


def explain(evidence: Mapping[str, Any]) -> Explanation:
    """Read an alert's evidence."""
    accuracy = _mapping(evidence.get("accuracy"))
    return Explanation(
        change=_change(evidence),
        calibrated_with=int(_number(accuracy.get("calibrated_with")) or 0),
        features=_contributing([_feature(_mapping(one)) for one in _list(evidence.get("features"))]),
        tokens=tuple(
            Pair(_text(one.get("token")), _number(one.get("before")), _number(one.get("after")) or 0.0)
            for one in map(_mapping, _list(evidence.get("tokens")))
            if _text(one.get("token"))
        ),
        classes=_classes(_mapping(evidence.get("classes"))),
        joint=_joint(evidence.get("joint")),
        metric=_metric(_mapping(evidence.get("metric")), evidence.get("before")),
        details=tuple(
            (name, int(count))
            for name, value in list(_mapping(evidence.get("details")).items())[:_MOST]
            if (count := _number(value)) is not None
        ),
        sources=tuple(
            (_text(one.get("source")), _text(one.get("last")))
            for one in map(_mapping, _list(evidence.get("sources")))
        ),
        examples=tuple(
            {name: _text(value) for name, value in _mapping(one).items()}
            for one in _list(evidence.get("examples"))
        ),
        first=_place(_mapping(evidence.get("first"))),
        cause=_text(evidence.get("cause")),
    )


def _change(evidence: Mapping[str, Any]) -> Pair | None:
    """Return the rate that is watched, by its name in words."""
    for key in ("error_rate", "accuracy", "ratio"):
        found = _mapping(evidence.get(key))
        after = _number(found.get("after"))
        if after is not None:
            ratio = _text(found.get("name"))
            name = _CHANGES.get(key) or RATIOS.get(ratio, ratio or "share of events")
            return Pair(name, _number(found.get("before")), after)
    return None


def _feature(found: Mapping[str, Any]) -> Feature:
    mean = _mapping(found.get("mean"))
    return Feature(
        _text(found.get("feature")),
        _number(mean.get("before")),
        _number(mean.get("after")),
        _tests(found),
        _histogram(_mapping(found.get("histogram"))),
    )


def _tests(found: Mapping[str, Any]) -> tuple[Tested, ...]:
    """Return what the tests said; an alert without a list of them has what was measured beside PSI."""
    listed = [
        Tested(_text(one.get("name")), statistic, _number(one.get("threshold")))
        for one in map(_mapping, _list(found.get("tests")))
        if (statistic := _number(one.get("statistic"))) is not None
    ]
    if listed:
        return tuple(listed)
    thresholds = {"psi": _number(found.get("threshold"))}
    return tuple(
        Tested(name, statistic, thresholds.get(name))
        for name in ("psi", "ks", "wasserstein")
        if (statistic := _number(found.get(name))) is not None
    )


def _histogram(found: Mapping[str, Any]) -> Histogram | None:
    bins = tuple(map(_text, _list(found.get("bins"), _MOST_BINS)))
    before, after = (
        tuple(max(0.0, _number(share) or 0.0) for share in _list(found.get(side), _MOST_BINS))
        for side in ("before", "after")
    )
    width = min(len(bins), len(before), len(after))
    return Histogram(bins[:width], before[:width], after[:width]).used() if width else None


def _contributing(found: list[Feature]) -> tuple[Feature, ...]:
    """Give each named feature its share of how far all together passed their thresholds."""
    named = [feature for feature in found if feature.name]
    whole = sum(feature.over for feature in named)
    return tuple(
        Feature(f.name, f.before, f.after, f.tests, f.histogram, f.over / whole if whole else 0.0)
        for f in named
    )


def _classes(found: Mapping[str, Any]) -> tuple[Pair, ...]:
    """Return the error rate of each class, those with the most errors first."""
    rates = []
    for name, value in found.items():
        one = _mapping(value)
        errors, labels, rate = (_number(one.get(key)) for key in ("errors", "labels", "rate"))
        if errors is not None and labels is not None and rate is not None:
            pair = Pair(name, _number(one.get("before")), rate, f"{errors:.0f} of {labels:.0f} wrong")
            rates.append((errors, pair))
    return tuple(pair for _, pair in sorted(rates, key=lambda item: -item[0])[:_MOST])


def _joint(found: Any) -> Joint | None:
    one = _mapping(found[0] if isinstance(found, list) and found else found)
    statistic = _number(one.get("statistic"))
    if statistic is None:
        return None
    return Joint(statistic, _number(one.get("threshold")), _number(one.get("expected_run_time")))


def _metric(found: Mapping[str, Any], before: Any) -> Metric | None:
    value = _number(found.get("value"))
    if value is None:
        return None
    known = [number for one in _list(before, _MOST_READINGS) if (number := _number(one)) is not None]
    return Metric(_text(found.get("source")), _text(found.get("reading")), value, tuple(known))


def _place(first: Mapping[str, Any]) -> str:
    if not first:
        return ""
    return f"{_text(first.get('topic'))} {_text(first.get('partition'))}:{_text(first.get('offset'))}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return {str(key): inner for key, inner in value.items()} if isinstance(value, dict) else {}


def _list(value: Any, most: int = _MOST) -> list[Any]:
    return list(value)[:most] if isinstance(value, list | tuple) else []


def _number(value: Any) -> float | None:
    """Return a finite number, or None; a whole number too large for a float is none either."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if isfinite(value) else None
    except OverflowError:
        return None


def _text(value: Any) -> str:
    return "" if value is None else str(value)
