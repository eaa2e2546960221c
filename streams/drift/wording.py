"""Words an alert: consumes what a watch found, produces the `DriftAlert` that on-call reads at night."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

from schemas.drift import DriftAlert, Response, Severity, Signal, recovery_id
from schemas.response import BySeverity
from streams.drift.error import Rise
from streams.drift.estimate import Drop
from streams.drift.quality import Worse
from streams.drift.rows import Event
from streams.drift.shift import Moved, Shift

RUNBOOKS: Final = {
    Signal.ERROR: "infra/runbooks/drift-error.md",
    Signal.INPUT: "infra/runbooks/drift-input.md",
    Signal.PREDICTION: "infra/runbooks/drift-prediction.md",
    Signal.ESTIMATE: "infra/runbooks/drift-estimate.md",
    Signal.QUALITY: "infra/runbooks/drift-quality.md",
    Signal.SILENCE: "infra/runbooks/drift-silence.md",
}
_NEXT: Final = {
    Response.ALERT: "Nothing is changed by itself.",
    Response.INCREMENT: "Headrace is collecting labels to tune the model by itself.",
    Response.RETRAIN: "Headrace is retraining the model by itself.",
}
_MUCH: Final = 0.1
_MOST: Final = 0.5
_RATIOS: Final = {
    "rejected": "of the events are rejected",
    "missing": "of the events lack a reading",
    "outlier": "of the events have an outlier",
    "repaired": "of the events had to be repaired",
    "late": "of the events come late",
    "new_field": "of the events have a field that none had",
    "absent_field": "of the events lack a field that all had",
}


class Subject:
    """Whose alerts these are: a stream, its model and the version that serves."""

    def __init__(self, stream: str, model: str, version: int) -> None:
        self.stream = stream
        self.model = model
        self.version = version

    @property
    def called(self) -> str:
        """The model and version in words, or nothing where no model serves."""
        return f" (model {self.model} v{self.version})" if self.version else ""

    def alert_id(self, signal: Signal, topic: str, partition: int, offset: int, kind: str = "") -> str:
        """Return the id of a drift that began at an event: the same whenever it is found again."""
        parts = (self.stream, self.model, self.version, signal.value, topic, partition, offset, kind)
        return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:20]


def error_alert(
    subject: Subject, rise: Rise, *, detector: str, response: BySeverity, now: datetime
) -> DriftAlert:
    """Word a rise of the error rate."""
    worst = sorted(rise.classes.items(), key=lambda item: -item[1][0])[:3]
    where = ", ".join(f"{truth!r} {errors} of {labels} wrong" for truth, (errors, labels) in worst if errors)
    first = rise.first.answer
    severity = Severity.CRITICAL if rise.after - rise.before >= _MUCH else Severity.WARNING
    follows = response.to(severity)
    summary = (
        f"Stream {subject.stream!r}{subject.called}: error rate rose from {rise.before:.1%} to "
        f"{rise.after:.1%} "
        f"over the last {rise.labels} labels, since about {_at(rise.since):%Y-%m-%d %H:%M:%S} UTC"
        f"{'. Worst: ' + where if where else ''}. {_NEXT[follows]}"
    )
    return DriftAlert(
        id=subject.alert_id(Signal.ERROR, first.topic, first.partition, first.offset, detector),
        stream=subject.stream,
        model=subject.model,
        version=subject.version,
        signal=Signal.ERROR,
        detector=detector,
        statistic=rise.after,
        threshold=rise.threshold,
        since=_at(rise.since),
        window_from=_at(rise.since),
        window_to=_at(rise.to),
        observations=rise.labels,
        severity=severity,
        response=follows,
        summary=summary,
        evidence={
            "error_rate": {"before": rise.before, "after": rise.after},
            "classes": {t: {"errors": e, "labels": n, "rate": e / n} for t, (e, n) in rise.classes.items()},
            "examples": [
                {"source": j.source, "id": j.id, "predicted": j.answer.label, "truth": j.truth}
                for j in rise.examples
            ],
            "first": {"topic": first.topic, "partition": first.partition, "offset": first.offset},
        },
        runbook=RUNBOOKS[Signal.ERROR],
        raised_at=now,
    )


def shift_alert(
    subject: Subject,
    signal: Signal,
    shift: Shift,
    *,
    response: BySeverity,
    now: datetime,
    classes: Sequence[str] = (),
) -> DriftAlert:
    """Word a shift of inputs or predictions. `classes` names the codes of the feature `class`."""
    top = shift.moved[0]
    what = "what comes in has changed" if signal is Signal.INPUT else "the model's answers have changed"
    listed = "; ".join(_in_words(moved, classes) for moved in shift.moved[:3])
    more = f" and {len(shift.moved) - 3} more" if len(shift.moved) > 3 else ""
    follows = response.to(Severity.WARNING)
    summary = (
        f"Stream {subject.stream!r}{subject.called}: {what} since about "
        f"{_at(shift.since):%Y-%m-%d %H:%M:%S} UTC: {listed}{more} (PSI {top.psi:.2f}, threshold "
        f"{top.threshold:.2f}, {shift.observations} events). {_NEXT[follows]}"
    )
    return DriftAlert(
        id=subject.alert_id(signal, *shift.first[:3]),
        stream=subject.stream,
        model=subject.model,
        version=subject.version,
        signal=signal,
        detector="psi",
        statistic=top.psi,
        threshold=top.threshold,
        since=_at(shift.since),
        window_from=_at(shift.window_from),
        window_to=_at(shift.window_to),
        observations=shift.observations,
        severity=Severity.WARNING,
        response=follows,
        summary=summary,
        evidence={
            "features": [_evidence(moved, classes) for moved in shift.moved],
            **_events(shift.first, shift.examples),
        },
        runbook=RUNBOOKS[signal],
        raised_at=now,
    )


def estimate_alert(subject: Subject, drop: Drop, *, response: BySeverity, now: datetime) -> DriftAlert:
    """Word a drop of the accuracy that scores let expect."""
    follows = response.to(Severity.WARNING)
    summary = (
        f"Stream {subject.stream!r}{subject.called}: its scores let expect {drop.after:.1%} of the answers "
        f"to be right, {drop.before:.1%} before, since about {_at(drop.since):%Y-%m-%d %H:%M:%S} UTC "
        f"({drop.answers} answers; labels are still to say it). {_NEXT[follows]}"
    )
    return DriftAlert(
        id=subject.alert_id(Signal.ESTIMATE, *drop.first[:3]),
        stream=subject.stream,
        model=subject.model,
        version=subject.version,
        signal=Signal.ESTIMATE,
        detector="cbpe",
        statistic=drop.after,
        threshold=drop.threshold,
        since=_at(drop.since),
        window_from=_at(drop.since),
        window_to=_at(drop.to),
        observations=drop.answers,
        severity=Severity.WARNING,
        response=follows,
        summary=summary,
        evidence={
            "accuracy": {"before": drop.before, "after": drop.after, "calibrated_with": drop.labels},
            **_events(drop.first, drop.examples),
        },
        runbook=RUNBOOKS[Signal.ESTIMATE],
        raised_at=now,
    )


def quality_alert(subject: Subject, worse: Worse, *, response: BySeverity, now: datetime) -> DriftAlert:
    """Word a ratio that rose."""
    listed = ", ".join(f"{name} ({count})" for name, count in list(worse.details.items())[:3])
    named = f": {listed}" if listed else ""
    severity = Severity.CRITICAL if worse.after >= _MOST else Severity.WARNING
    follows = response.to(severity)
    summary = (
        f"Stream {subject.stream!r}: {worse.after:.1%} {_RATIOS[worse.ratio]}, {worse.before:.1%} "
        f"before, since about {_at(worse.since):%Y-%m-%d %H:%M:%S} UTC{named}. {_NEXT[follows]}"
    )
    return DriftAlert(
        id=subject.alert_id(Signal.QUALITY, *worse.first[:3], worse.ratio),
        stream=subject.stream,
        model=subject.model,
        version=subject.version,
        signal=Signal.QUALITY,
        detector=worse.ratio,
        statistic=worse.after,
        threshold=worse.threshold,
        since=_at(worse.since),
        window_from=_at(worse.since),
        window_to=_at(worse.to),
        observations=worse.events,
        severity=severity,
        response=follows,
        summary=summary,
        evidence={
            "ratio": {"name": worse.ratio, "before": worse.before, "after": worse.after},
            "details": worse.details,
            **_events(worse.first, worse.examples),
        },
        runbook=RUNBOOKS[Signal.QUALITY],
        raised_at=now,
    )


def silence_alert(
    subject: Subject, silent: Sequence[tuple[str, float]], after_s: float, now: datetime
) -> DriftAlert:
    """Word that sources stopped sending; the first one, and when it last sent, make the alert's id."""
    source, last = silent[0]
    others = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
    return DriftAlert(
        id=subject.alert_id(Signal.SILENCE, source, 0, int(last * 1000)),
        stream=subject.stream,
        model=subject.model,
        version=subject.version,
        signal=Signal.SILENCE,
        detector="silence",
        statistic=now.timestamp() - last,
        threshold=after_s,
        since=_at(last),
        window_from=_at(last),
        window_to=now,
        observations=len(silent),
        severity=Severity.WARNING,
        response=Response.ALERT,
        summary=(
            f"Stream {subject.stream!r}: source {source!r}{others} sent nothing since "
            f"{_at(last):%Y-%m-%d %H:%M:%S} UTC. {_NEXT[Response.ALERT]}"
        ),
        evidence={"sources": [{"source": name, "last": _at(at).isoformat()} for name, at in silent]},
        runbook=RUNBOOKS[Signal.SILENCE],
        raised_at=now,
    )


def recovery(
    subject: Subject,
    signal: Signal,
    raised: str,
    why: str,
    at: float,
    now: datetime,
    *,
    statistic: float,
    threshold: float,
) -> DriftAlert:
    """Word the notice that a drift has gone; it asks for nothing."""
    return DriftAlert(
        id=recovery_id(raised),
        stream=subject.stream,
        model=subject.model,
        version=subject.version,
        signal=signal,
        detector="recovery",
        statistic=statistic,
        threshold=threshold,
        since=_at(at),
        window_from=_at(at),
        window_to=_at(at),
        observations=0,
        severity=Severity.WARNING,
        response=Response.ALERT,
        summary=f"Stream {subject.stream!r}{subject.called}: {signal.value} drift is over: {why}",
        evidence={"alert": raised},
        runbook=RUNBOOKS[signal],
        raised_at=now,
        recovered=True,
    )


def _in_words(moved: Moved, classes: Sequence[str]) -> str:
    if moved.name == "class" and classes:
        shares = zip([*classes, "other"], moved.before_shares, moved.after_shares, strict=False)
        name, before, after = max(shares, key=lambda s: abs(s[2] - s[1]))
        return f"answers {name!r} went from {before:.1%} to {after:.1%}"
    return f"{moved.name} went from {moved.before:.3g} to {moved.after:.3g} on average"


def _evidence(moved: Moved, classes: Sequence[str]) -> dict[str, Any]:
    bins = [*classes, "other", "missing"] if moved.name == "class" and classes else moved.bins
    found = {
        "feature": moved.name,
        "psi": moved.psi,
        "threshold": moved.threshold,
        "ks": moved.ks,
        "wasserstein": moved.wasserstein,
        "mean": {"before": moved.before, "after": moved.after},
        "histogram": {"bins": bins, "before": moved.before_shares, "after": moved.after_shares},
    }
    return {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in found.items()}


def _events(first: Event, examples: Sequence[Event]) -> dict[str, Any]:
    """Return the part of the evidence that says where it began, and shows some events of it."""
    return {
        "examples": [{"source": event[3], "id": event[4]} for event in examples],
        "first": dict(zip(("topic", "partition", "offset"), first[:3], strict=True)),
    }


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
