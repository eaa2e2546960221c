"""Words an alert: consumes what a watch found, produces the `DriftAlert` that on-call reads at night."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from schemas.drift import DriftAlert, Response, Severity, Signal, recovery_id
from schemas.response import BySeverity
from streams.drift.error import Rise
from streams.drift.estimate import Drop
from streams.drift.novelty import Novel
from streams.drift.ratios import Worse
from streams.drift.rows import Event

RUNBOOKS: Final = {
    Signal.ERROR: "infra/runbooks/drift-error.md",
    Signal.INPUT: "infra/runbooks/drift-input.md",
    Signal.PREDICTION: "infra/runbooks/drift-prediction.md",
    Signal.ESTIMATE: "infra/runbooks/drift-estimate.md",
    Signal.QUALITY: "infra/runbooks/drift-quality.md",
    Signal.SILENCE: "infra/runbooks/drift-silence.md",
    Signal.NOVELTY: "infra/runbooks/drift-novelty.md",
}
NEXT: Final = {
    Response.ALERT: "Nothing is changed by itself.",
    Response.INCREMENT: "Headrace is collecting labels to tune the model by itself.",
    Response.RETRAIN: "Headrace is retraining the model by itself.",
}
_MUCH: Final = 0.1
_MOST: Final = 0.5
_ASPECTS: Final = {
    "value": "no reading before lay as far from the others",
    "step": "it never changed so in one step",
    "level": "its mean is where it never was",
    "activity": "it moves more, or less, than ever before",
    "shape": "its course is unlike any before",
}
_RATIOS: Final = {
    "rejected": "of the events are rejected",
    "missing": "of the events lack a reading",
    "outlier": "of the events have an outlier",
    "repaired": "of the events had to be repaired",
    "late": "of the events come late",
    "new_field": "of the events have a field that none had",
    "duplicate": "of what is sent are copies",
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
    first = rise.first.answer.event
    severity = Severity.CRITICAL if rise.after - rise.before >= _MUCH else Severity.WARNING
    follows = response.to(severity)
    tolerance = rise.first.answer.tolerance
    what = "" if tolerance is None else f" (answers further than {tolerance:.4g} from the truth)"
    summary = (
        f"Stream {subject.stream!r}{subject.called}: error rate{what} rose from {rise.before:.1%} to "
        f"{rise.after:.1%} "
        f"over the last {rise.labels} labels, since about {moment(rise.since):%Y-%m-%d %H:%M:%S} UTC"
        f"{'. Worst: ' + where if where else ''}. {NEXT[follows]}"
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
        since=moment(rise.since),
        window_from=moment(rise.since),
        window_to=moment(rise.to),
        observations=rise.labels,
        severity=severity,
        response=follows,
        summary=summary,
        evidence={
            "error_rate": {"before": rise.before, "after": rise.after},
            "classes": {t: {"errors": e, "labels": n, "rate": e / n} for t, (e, n) in rise.classes.items()},
            "examples": [
                {"source": j.answer.source, "id": j.answer.id, "predicted": j.answer.said, "truth": j.truth}
                for j in rise.examples
            ],
            "first": {"topic": first.topic, "partition": first.partition, "offset": first.offset},
        },
        runbook=RUNBOOKS[Signal.ERROR],
        raised_at=now,
    )


def estimate_alert(subject: Subject, drop: Drop, *, response: BySeverity, now: datetime) -> DriftAlert:
    """Word a drop of the accuracy that scores let expect."""
    follows = response.to(Severity.WARNING)
    summary = (
        f"Stream {subject.stream!r}{subject.called}: its scores let expect {drop.after:.1%} of the answers "
        f"to be right, {drop.before:.1%} before, since about {moment(drop.since):%Y-%m-%d %H:%M:%S} UTC "
        f"({drop.answers} answers; labels are still to say it). {NEXT[follows]}"
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
        since=moment(drop.since),
        window_from=moment(drop.since),
        window_to=moment(drop.to),
        observations=drop.answers,
        severity=Severity.WARNING,
        response=follows,
        summary=summary,
        evidence={
            "accuracy": {"before": drop.before, "after": drop.after, "calibrated_with": drop.labels},
            **events(drop.first, drop.examples),
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
        f"before, since about {moment(worse.since):%Y-%m-%d %H:%M:%S} UTC{named}. {NEXT[follows]}"
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
        since=moment(worse.since),
        window_from=moment(worse.since),
        window_to=moment(worse.to),
        observations=worse.events,
        severity=severity,
        response=follows,
        summary=summary,
        evidence={
            "ratio": {"name": worse.ratio, "before": worse.before, "after": worse.after},
            "details": worse.details,
            **events(worse.first, worse.examples),
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
        since=moment(last),
        window_from=moment(last),
        window_to=now,
        observations=len(silent),
        severity=Severity.WARNING,
        response=Response.ALERT,
        summary=(
            f"Stream {subject.stream!r}: source {source!r}{others} sent nothing since "
            f"{moment(last):%Y-%m-%d %H:%M:%S} UTC. {NEXT[Response.ALERT]}"
        ),
        evidence={"sources": [{"source": name, "last": moment(at).isoformat()} for name, at in silent]},
        runbook=RUNBOOKS[Signal.SILENCE],
        raised_at=now,
    )


def novelty_alert(subject: Subject, novel: Novel, now: datetime) -> DriftAlert:
    """Word that a metric is as it never was."""
    before = novel.before
    usual = f"; its last {len(before)}: {min(before):.4g} to {max(before):.4g}" if before else ""
    return DriftAlert(
        id=subject.alert_id(Signal.NOVELTY, *novel.event[:3], novel.reading),
        stream=subject.stream,
        model=subject.model,
        version=subject.version,
        signal=Signal.NOVELTY,
        detector=novel.aspect,
        statistic=novel.score,
        threshold=novel.threshold,
        since=moment(novel.time),
        window_from=moment(novel.time),
        window_to=moment(novel.time),
        observations=len(before) + 1,
        severity=Severity.WARNING,
        response=Response.ALERT,
        summary=(
            f"Stream {subject.stream!r}: {novel.reading!r} of source {novel.source!r} is new: "
            f"{novel.value:.4g} at {moment(novel.time):%Y-%m-%d %H:%M:%S} UTC{usual}. "
            f"By its {novel.aspect}: {_ASPECTS[novel.aspect]}. "
            f"{NEXT[Response.ALERT]}"
        ),
        evidence={
            "metric": {"source": novel.source, "reading": novel.reading, "value": novel.value},
            "before": before,
            **events(novel.event, [novel.event]),
        },
        runbook=RUNBOOKS[Signal.NOVELTY],
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
        since=moment(at),
        window_from=moment(at),
        window_to=moment(at),
        observations=0,
        severity=Severity.WARNING,
        response=Response.ALERT,
        summary=f"Stream {subject.stream!r}{subject.called}: {signal.value} drift is over: {why}",
        evidence={"alert": raised},
        runbook=RUNBOOKS[signal],
        raised_at=now,
        recovered=True,
    )


def events(first: Event, examples: Sequence[Event]) -> dict[str, Any]:
    """Return the part of the evidence that says where it began, and shows some events of it."""
    return {
        "examples": [{"source": event[3], "id": event[4]} for event in examples],
        "first": dict(zip(("topic", "partition", "offset"), first[:3], strict=True)),
    }


def moment(seconds: float) -> datetime:
    """Return a time in seconds since 1970 as aware UTC."""
    return datetime.fromtimestamp(seconds, UTC)
