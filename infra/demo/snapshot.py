"""The present state of a run in one value: consumes ledger and watch, produces what the display shows."""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from infra.demo.ledger import Ledger
from infra.demo.watch import Watch, nearest
from streams.drift.levels import DriftLevel

_RATE_SPAN_S: Final = 5.0
_RECENT_ANSWERS: Final = 300


@dataclass(frozen=True)
class Snapshot:
    """Counts of the watched stream, rates over the last 5 s, `accuracy` of the last 300 labels."""

    phase: str
    elapsed_s: float
    sent: int = 0
    accepted: int = 0
    copies: int = 0
    refused: int = 0
    dead: int = 0
    rows: int = 0
    predictions: int = 0
    send_rate: float = 0.0
    answer_rate: float = 0.0
    accuracy: float | None = None
    labels: int = 0
    drift: DriftLevel | None = None
    versions: dict[str, int] = field(default_factory=dict)
    trainer: dict[str, str] = field(default_factory=dict)
    rows_by_stream: dict[str, int] = field(default_factory=dict)
    rss_bytes: int = 0
    alerts: int = 0

    @property
    def rows_behind(self) -> int:
        """Accepted events that are not selectable yet."""
        return max(0, self.accepted - self.rows)

    @property
    def answers_behind(self) -> int:
        """Accepted events that are not answered yet."""
        return max(0, self.accepted - self.predictions)


class Snapshots:
    """Makes snapshots; keeps the last seconds for the rates."""

    def __init__(self, ledger: Ledger, watch: Watch) -> None:
        self._ledger = ledger
        self._watch = watch
        self._past: deque[tuple[float, int, int]] = deque()

    def take(self, phase: str, elapsed_s: float) -> Snapshot:
        """Return the state `elapsed_s` seconds into the run."""
        ledger, watch = self._ledger, self._watch
        accepted, answered = ledger.accepted_count, len(watch.answers)
        self._past.append((elapsed_s, accepted, answered))
        while len(self._past) > 1 and self._past[1][0] <= elapsed_s - _RATE_SPAN_S:
            self._past.popleft()
        then, accepted_then, answered_then = self._past[0]
        span_s = max(elapsed_s - then, 1e-9)
        return Snapshot(
            phase=phase,
            elapsed_s=elapsed_s,
            sent=ledger.messages,
            accepted=accepted,
            copies=ledger.copies_sent,
            refused=ledger.rejected_http.total(),
            dead=watch.dead.total(),
            rows=len(watch.selectable_at),
            predictions=answered,
            send_rate=(accepted - accepted_then) / span_s,
            answer_rate=(answered - answered_then) / span_s,
            accuracy=self._recent_accuracy(),
            labels=ledger.labels_sent,
            drift=nearest(watch.levels),
            versions={swap.model: swap.version for swap in watch.swaps if swap.outcome == "swapped"},
            trainer={step.model: _doing(step.state, step.message) for step in watch.transitions},
            rows_by_stream=dict(watch.rows_by_stream),
            rss_bytes=watch.rss_bytes,
            alerts=len(watch.alerts),
        )

    def _recent_accuracy(self) -> float | None:
        """Return the accuracy over the last labelled events, newest first until enough are found."""
        right = total = 0
        for identity in reversed(self._ledger.events):
            sent = self._ledger.events[identity]
            answer = self._watch.answers.get(identity)
            if sent.label_sent_at is None or answer is None:
                continue
            total += 1
            right += answer.prediction.label == sent.label
            if total == _RECENT_ANSWERS:
                break
        return right / total if total else None


def level_text(level: DriftLevel) -> str:
    """Return a signal's level as people read it."""
    ready = "" if level.readiness >= 1 else f", {level.readiness:.0%} of what it needs"
    return f"{level.statistic:.3g} of {level.threshold:.3g} ({level.name}{ready})"


def _doing(state: str, message: str) -> str:
    return f"{state}: {message}" if message else state


def megabytes(size_bytes: int) -> str:
    """Return a size as people read it."""
    return f"{size_bytes / 2**30:.2f} GiB" if size_bytes >= 2**30 else f"{size_bytes / 2**20:.0f} MiB"


def percent(share: float | None) -> str:
    """Return a share as a percentage, a dash where there is none."""
    return "–" if share is None else f"{share:.1%}"


def as_text(value: Any) -> str:
    """Return a figure, a dash where there is none."""
    return "–" if value is None else str(value)
