"""What a backtest found: consumes the contestants' tracks and what happened, produces the figures as JSON."""

from dataclasses import dataclass, field
from typing import Any, Final

from infra.backtest.champion import Past
from infra.backtest.drifts import Matched, match
from infra.backtest.plan import Plan
from infra.backtest.row import History
from infra.backtest.score import Score, Track, kappa, rounded
from infra.backtest.watch import Alert

SHOWN_PROBLEMS: Final = 20


@dataclass
class Outcome:
    """Everything that the report and the figures are made of. `track` is the model's own."""

    plan: Plan
    model: str
    history: History
    window: int
    track: Track
    baselines: dict[str, Track] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    matched: dict[str, Matched] = field(default_factory=dict)
    """Alarms against the true drifts, by kind; empty where none were given."""
    past: Past = field(default_factory=Past)
    labels_used: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    file_scores: list[Score] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """Return the figures under the agreed keys."""
        accuracy = self.track.whole.accuracy
        no_change = self._baseline("no_change")
        return {
            "rows": len(self.history.rows),
            "accuracy": rounded(accuracy),
            "f1_macro": rounded(self.track.whole.f1_macro) if self._has_labels else None,
            "kappa_temporal": rounded(kappa(accuracy, no_change)),
            "baselines": {
                name: rounded(self._baseline(name)) for name in ("no_change", "frozen", "always_retrain")
            },
            "by_window": self._windows(),
            "alerts": [
                {"row": a.row, "kind": a.kind, "detector": a.detector, "message": a.message}
                for a in self.alerts
            ],
            "drifts": self._drifts(),
            "releases": self.past.releases,
            "labels_used": self.labels_used,
            "trainings": self.past.trainings,
            "rejections": self.past.rejections,
            "rollbacks": self.past.rollbacks,
            "waits": self.past.waits,
            "judged": self.track.whole.count,
            "train_rows": self.plan.train_rows,
            "by_class": self.track.whole.by_class() if self._has_labels else {},
            "by_file": self._files(),
            "model": self.model,
            "seed": self.plan.seed,
            "bad_rows": self.history.bad,
            "problems": [str(problem) for problem in self.history.problems[:SHOWN_PROBLEMS]],
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }

    @property
    def _has_labels(self) -> bool:
        """Whether there are labels at all, or error bits alone."""
        return self.model != "none"

    def _baseline(self, name: str) -> float | None:
        return self.baselines[name].whole.accuracy if name in self.baselines else None

    def _windows(self) -> list[dict[str, Any]]:
        others = {
            name: {first: part for first, _, part in track.windows()}
            for name, track in self.baselines.items()
        }
        no_change = others.get("no_change", {})
        return [
            {
                "from": first,
                "to": min(end, len(self.history.rows)),
                "accuracy": rounded(part.accuracy),
                "f1_macro": rounded(part.f1_macro) if self._has_labels else None,
                "kappa_temporal": rounded(
                    kappa(part.accuracy, no_change[first].accuracy if first in no_change else None)
                ),
                "baselines": {
                    name: rounded(parts[first].accuracy) for name, parts in others.items() if first in parts
                },
            }
            for first, end, part in self.track.windows()
        ]

    def _files(self) -> list[dict[str, Any]]:
        return [
            {"file": name, "from": begin, "rows": score.count, "accuracy": rounded(score.accuracy)}
            for (name, begin), score in zip(self.history.files, self.file_scores, strict=False)
        ]

    def compare(self) -> None:
        """Match the alarms of each kind with the drifts that the plan gives; `error` is always among them."""
        if not self.plan.drifts:
            return
        for kind in ("error", *(alert.kind for alert in self.alerts)):
            alarms = [alert.row for alert in self.alerts if alert.kind == kind]
            self.matched[kind] = match(alarms, self.plan.drifts, self.plan.tolerance)

    def _drifts(self) -> dict[str, Any]:
        """Return what the error detector found; other kinds of alerts stand beside it."""
        if not self.matched:
            return {"given": 0, "found": 0, "missed": 0, "false": 0, "mean_delay": None}
        others = {kind: part.figures() for kind, part in self.matched.items() if kind != "error"}
        return self.matched["error"].figures() | {"other_alerts": others}
