"""The demo's figures: consumes the ledger and what the watch saw, produces the numbers of `--json`.

Definitions. *before*: accuracy over all labelled events of the baseline phase. *drifted*: over events sent
from the drift's start on that the old version answered. *after*: over events answered by a version released
since then. A label counts once the gateway took it; an answer is compared with it, whichever came first
(prequential). *lost*: acknowledged ids that are missing in ClickHouse or in `predictions`; *doubled*: ids
that are there more than once. *selectable* and *prediction*: from the moment an event was due to be sent to
the moment when a client of ClickHouse, or a read-committed consumer, had it in hand.

A few hundred answers tell an accuracy to a point or so: a run falls short of "within 2 points of before" when
the difference is larger than 2 points by more than chance explains (one-sided, 95 %; two binomial shares).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot, sqrt
from statistics import NormalDist
from typing import Any, Final

from infra.demo.ledger import Ledger
from infra.demo.moments import Moments
from schemas.prediction import Prediction
from schemas.record import Identity
from schemas.release import Release, Swap

_BELOW: Final = 0.02
_EDGE_S: Final = 1.0
_REGISTERED_S: Final = 10.0
_WARM_S: Final = 10.0
_Z: Final = NormalDist().inv_cdf(0.95)


@dataclass(frozen=True)
class Answer:
    """One prediction as a consumer received it."""

    prediction: Prediction
    received_at: float
    partition: int
    offset: int


@dataclass(frozen=True)
class Percentiles:
    """Of a latency, in milliseconds."""

    p50: float
    p95: float
    p99: float
    count: int = 0

    @classmethod
    def of(cls, values: Iterable[float]) -> "Percentiles | None":
        """Return the nearest-rank percentiles of `values`; None when there are none."""
        ranked = sorted(values)
        if not ranked:
            return None
        last = len(ranked) - 1
        p50, p95, p99 = (ranked[min(last, int(share * len(ranked)))] for share in (0.50, 0.95, 0.99))
        return cls(p50, p95, p99, len(ranked))

    def as_json(self) -> dict[str, float]:
        """Return p50, p95 and p99, rounded to tenths."""
        return {"p50": round(self.p50, 1), "p95": round(self.p95, 1), "p99": round(self.p99, 1)}


@dataclass(frozen=True)
class Share:
    """How many of how many."""

    right: int
    total: int

    @property
    def value(self) -> float | None:
        """Return the share, None when nothing was counted."""
        return self.right / self.total if self.total else None

    @property
    def error(self) -> float:
        """Return the standard error of the share, a success and a failure added (Laplace)."""
        share = (self.right + 1) / (self.total + 2)
        return sqrt(share * (1.0 - share) / (self.total + 2))


@dataclass(frozen=True)
class Comparison:
    """Sent ids against one place where they must be exactly once."""

    rows: int
    lost: tuple[Identity, ...]
    doubled: tuple[Identity, ...]


def compare(accepted: Iterable[Identity], found: Mapping[Identity, int]) -> Comparison:
    """Compare the acknowledged ids with how often each was found."""
    wanted = list(accepted)
    return Comparison(
        rows=sum(found.get(identity, 0) for identity in wanted),
        lost=tuple(identity for identity in wanted if identity not in found),
        doubled=tuple(identity for identity in wanted if found.get(identity, 0) > 1),
    )


def accuracy(
    ledger: Ledger, answers: Mapping[Identity, Answer], *, phases: set[str], versions: set[int]
) -> Share:
    """Return how many labelled events sent in `phases` and answered by `versions` were answered rightly."""
    right = total = 0
    for identity, sent in ledger.events.items():
        answer = answers.get(identity)
        if answer is None or sent.label_sent_at is None:
            continue
        if sent.phase not in phases or answer.prediction.version not in versions:
            continue
        total += 1
        right += answer.prediction.label == sent.label
    return Share(right, total)


def first_offsets(swaps: Iterable[Swap], release: Release) -> dict[str, int]:
    """Return the first offset of each partition that a version answered.

    Where a partition had nothing to answer yet, it is the offset from which on the version would.
    """
    ours = [swap for swap in swaps if (swap.model, swap.version) == (release.model, release.version)]
    offsets: dict[str, int] = {}
    for outcome in ("answered", "swapped"):
        for swap in ours:
            if swap.outcome == outcome:
                for place, offset in swap.first_offsets.items():
                    offsets.setdefault(place, offset)
    return offsets


@dataclass
class Figures:
    """What `--json` writes, plus `detail`. `trainings` are when each began and ended, since 1970."""

    ledger: Ledger
    answers: Mapping[Identity, Answer]
    moments: Moments
    warehouse: Comparison
    predicted: Comparison
    dead: Counter[str]
    selectable_at: Mapping[Identity, float]
    alerts: Sequence[Mapping[str, Any]]
    releases: Sequence[Release]
    swaps: Sequence[Swap]
    loop_s: float
    peak_rss_bytes: int
    stream: str
    trainings: Sequence[tuple[float, float]] = ()
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """How many acknowledged ids are missing in ClickHouse or in the predictions."""
        return len({*self.warehouse.lost, *self.predicted.lost})

    @property
    def doubled(self) -> int:
        """How many ids are more than once in ClickHouse or in the predictions."""
        return len({*self.warehouse.doubled, *self.predicted.doubled})

    @property
    def rejected(self) -> dict[str, int]:
        """Return rejections by reason: the gateway's refusals and what the cleaning stage turned away."""
        return dict(sorted((self.ledger.rejected_http + self.dead).items()))

    @property
    def learnt_versions(self) -> set[int]:
        """Return the versions of the stream's model that were released since the drift began."""
        since = self.moments.drift
        if since is None:
            return set()
        ours = (release for release in self.releases if release.stream == self.stream)
        return {release.version for release in ours if release.created_at.timestamp() >= since}

    def accuracies(self) -> dict[str, Share]:
        """Return accuracy before the drift, drifted and after learning."""
        learnt = self.learnt_versions
        later = {sent.phase for sent in self.ledger.events.values()} - {"baseline"}
        old = {answer.prediction.version for answer in self.answers.values()} - learnt
        return {
            "before": accuracy(self.ledger, self.answers, phases={"baseline"}, versions=old),
            "drifted": accuracy(self.ledger, self.answers, phases=later, versions=old),
            "after": accuracy(self.ledger, self.answers, phases=later, versions=learnt),
        }

    def latency(self) -> dict[str, Percentiles | None]:
        """Return ingest to selectable, and ingest to prediction."""
        sent = self.ledger.events
        selectable = ((at - sent[i].sent_at) * 1000 for i, at in self.selectable_at.items() if i in sent)
        predicted = ((a.received_at - sent[i].sent_at) * 1000 for i, a in self.answers.items() if i in sent)
        return {"selectable": Percentiles.of(selectable), "prediction": Percentiles.of(predicted)}

    def beside_training(self) -> dict[str, Percentiles | None]:
        """Return ingest to prediction of events sent while a training went on, and of those sent without one.

        Without one are `steady` events, of before the drift, and `drifted` ones, whose texts are as new as
        those beside a training and as seldom in the cache: only these tell what the training costs. Events
        within a second of a training's beginning or end, in the ten seconds after it, when it is registered,
        or in the run's first ten are none of the three.
        """
        waits: dict[str, list[float]] = {"training": [], "drifted": [], "steady": []}
        drift = self.moments.drift or float("inf")
        began = min((start for start, _ in self.trainings), default=float("inf"))
        for identity, answer in self.answers.items():
            at = self.ledger.events[identity].sent_at if identity in self.ledger.events else None
            if at is None:
                continue
            if (self.moments.began or 0.0) + _WARM_S <= at < min(began - _EDGE_S, drift):
                waits["steady"].append((answer.received_at - at) * 1000)
            elif any(start + _EDGE_S <= at <= end - _EDGE_S for start, end in self.trainings):
                waits["training"].append((answer.received_at - at) * 1000)
            elif at > drift and not any(
                start - _EDGE_S < at < end + _REGISTERED_S for start, end in self.trainings
            ):
                waits["drifted"].append((answer.received_at - at) * 1000)
        return {name: Percentiles.of(values) for name, values in waits.items()}

    def as_json(self) -> dict[str, Any]:
        """Return the figures under their agreed names; a figure that could not be taken is null."""
        return {
            "sent": self.ledger.messages,
            "accepted": self.ledger.accepted_count,
            "rejected": self.rejected,
            "duplicates_dropped": self.duplicates_dropped,
            "warehouse_rows": self.warehouse.rows,
            "predictions": self.predicted.rows,
            "lost": self.lost,
            "doubled": self.doubled,
            "accuracy": {name: _rounded(share.value, 4) for name, share in self.accuracies().items()},
            "seconds": {**self.moments.seconds(), "loop": round(self.loop_s, 1)},
            "latency_ms": {name: p.as_json() if p else None for name, p in self.latency().items()},
            "alerts": list(self.alerts),
            "releases": self._releases(),
            "peak_rss_bytes": self.peak_rss_bytes,
            "detail": self.detail,
        }

    @property
    def duplicates_dropped(self) -> int:
        """How many acknowledged copies of events that are in ClickHouse are not there a second time."""
        lost = set(self.warehouse.lost)
        acknowledged = sum(s.acknowledgements for i, s in self.ledger.accepted().items() if i not in lost)
        return acknowledged - self.warehouse.rows

    def _releases(self) -> list[dict[str, Any]]:
        """Return the versions released for the stream, each with the first offset that it answered."""
        return [
            {
                "version": release.version,
                "sha256": release.sha256,
                "first_offsets": first_offsets(self.swaps, release),
            }
            for release in self.releases
            if release.stream == self.stream
        ]


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def shortcomings(figures: Figures, *, must_learn: bool) -> list[str]:
    """Say in what the run fell short of what it must show; an empty list is success.

    `must_learn` asks for the whole loop: an alert, a release, a swap, and accuracy back within 2 points of
    before and at least 10 over drifted, as far as so many answers can tell.
    """
    found = []
    if figures.lost:
        found.append(f"{figures.lost} of {figures.ledger.accepted_count} acknowledged events are lost")
    if figures.doubled:
        found.append(f"{figures.doubled} events are doubled")
    if not figures.ledger.accepted_count:
        found.append("the gateway acknowledged nothing")
    if not must_learn:
        return found
    if figures.moments.alert is None:
        found.append("no drift alert came")
    if not figures.learnt_versions:
        found.append("no new model was released")
    if figures.moments.swap is None:
        return [*found, "no new model was swapped in"]
    shares = figures.accuracies()
    before, drifted, after = (shares[name].value for name in ("before", "drifted", "after"))
    if before is None or drifted is None or after is None:
        return [*found, "accuracy could not be measured in every phase"]
    chance = _Z * hypot(shares["before"].error, shares["after"].error)
    if after < before - _BELOW - chance:
        found.append(
            f"accuracy after ({after:.1%}) is more than 2 points below before ({before:.1%}), and chance "
            f"explains {100 * chance:.1f} points at most"
        )
    if after < drifted + 0.10:
        found.append(f"accuracy after ({after:.1%}) is less than 10 points over drifted ({drifted:.1%})")
    return found
