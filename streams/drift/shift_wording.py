"""Words a shift of what comes in or is answered: consumes what windows agreed on, produces the alert."""

from collections.abc import Sequence
from datetime import datetime
from math import isfinite
from typing import Any, Final

from schemas.drift import DriftAlert, Severity, Signal
from schemas.response import BySeverity
from streams.drift.compare import Moved
from streams.drift.shift import Shift
from streams.drift.wording import NEXT, RUNBOOKS, Subject, events, moment

_TESTS: Final = {
    "psi": "PSI",
    "ks": "Kolmogorov-Smirnov distance",
    "wasserstein": "Wasserstein distance",
    "chi_squared": "Cohen's w",
    "jensen_shannon": "Jensen-Shannon distance",
    "mmd": "squared MMD",
}


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
    top = shift.found_by
    follows = response.to(Severity.WARNING)
    what = "what comes in has changed" if signal is Signal.INPUT else "the model's answers have changed"
    listed = "; ".join(_in_words(moved, classes) for moved in shift.moved[:3])
    if shift.moved_jointly:
        what += " as a whole, though no feature by itself"
        listed = f"furthest off, {listed}"
    more = f" and {len(shift.moved) - 3} more" if len(shift.moved) > 3 else ""
    summary = (
        f"Stream {subject.stream!r}{subject.called}: {what} since about "
        f"{moment(shift.since):%Y-%m-%d %H:%M:%S} UTC: {listed}{more}{_terms_in_words(shift)} "
        f"({_TESTS[top.name]} {top.statistic:.2g}, threshold {top.threshold:.2g}, "
        f"{shift.observations} events). {NEXT[follows]}"
    )
    return DriftAlert(
        id=subject.alert_id(signal, *shift.first[:3]),
        stream=subject.stream,
        model=subject.model,
        version=subject.version,
        signal=signal,
        detector=top.name,
        statistic=top.statistic,
        threshold=top.threshold,
        since=moment(shift.since),
        window_from=moment(shift.window_from),
        window_to=moment(shift.window_to),
        observations=shift.observations,
        severity=Severity.WARNING,
        response=follows,
        summary=summary,
        evidence={
            "features": [_evidence(moved, classes) for moved in shift.moved],
            **_together(shift),
            **events(shift.first, shift.examples),
        },
        runbook=RUNBOOKS[signal],
        raised_at=now,
    )


def _in_words(moved: Moved, classes: Sequence[str]) -> str:
    if moved.name == "class" and classes:
        shares = zip([*classes, "other"], moved.before_shares, moved.after_shares, strict=False)
        name, before, after = max(shares, key=lambda s: abs(s[2] - s[1]))
        return f"answers {name!r} went from {before:.1%} to {after:.1%}"
    return f"{moved.name} went from {moved.before:.3g} to {moved.after:.3g} on average"


def _terms_in_words(shift: Shift) -> str:
    """Name the terms that a text stream has more of, or lost."""
    named = [f"{one.term!r} in {one.before:.0%} → {one.after:.0%} of the texts" for one in shift.terms[:2]]
    return f"; {'; '.join(named)}" if named else ""


def _evidence(moved: Moved, classes: Sequence[str]) -> dict[str, Any]:
    bins = [*classes, "other", "missing"] if moved.name == "class" and classes else moved.bins
    tests = [
        {"name": one.name, "statistic": one.statistic, "threshold": one.threshold} for one in moved.tests
    ]
    found = {
        "feature": moved.name,
        "detector": moved.found_by.name,
        "statistic": moved.found_by.statistic,
        "threshold": moved.found_by.threshold,
        **{one.name: one.statistic for one in moved.tests},
        "tests": tests,
        "mean": {"before": _finite(moved.before), "after": _finite(moved.after)},
        "histogram": {"bins": bins, "before": moved.before_shares, "after": moved.after_shares},
    }
    return {k: _finite(v) if isinstance(v, float) else v for k, v in found.items()}


def _together(shift: Shift) -> dict[str, Any]:
    """Return what all features said together, and which terms came or went."""
    told: dict[str, Any] = {}
    if shift.joint is not None and isfinite(shift.joint.threshold):
        told["joint"] = {
            "statistic": shift.joint.statistic,
            "threshold": shift.joint.threshold,
            "expected_run_time": shift.expected_run_time,
        }
    if shift.terms:
        told["tokens"] = [{"token": t.term, "before": t.before, "after": t.after} for t in shift.terms]
    return told


def _finite(value: float) -> float | None:
    """JSON knows neither infinity nor what is no number."""
    return value if isfinite(value) else None
