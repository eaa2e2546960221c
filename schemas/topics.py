"""Every topic: its name, key, partitions and how long it is kept. The stack creates them from here."""

from typing import Final

import msgspec

from schemas.audit import Audit
from schemas.clean import Clean
from schemas.control import Control
from schemas.copies import Copies
from schemas.dead import Dead
from schemas.drift import DriftAlert
from schemas.label import Label
from schemas.prediction import Prediction
from schemas.release import Release, Swap, Transition
from schemas.shadow import Shadow

_DAY_MS: Final = 86_400_000


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic's name without the installation's prefix, and its configuration."""

    name: str
    partitions: int
    key: str
    description: str
    retention_ms: int = 7 * _DAY_MS
    compacted: bool = False
    contract: type[msgspec.Struct] | None = None
    stored: bool = True
    """Whether records with a contract become rows in ClickHouse."""

    def config(self) -> dict[str, str]:
        """Return the broker's topic settings."""
        policy = {"cleanup.policy": "compact"} if self.compacted else {"retention.ms": str(self.retention_ms)}
        return {**policy, "max.message.bytes": str(2 * 1024 * 1024)}


RAW: Final = Topic(name="events.raw", partitions=2, key="source", description="events as published")
REKEYED: Final = Topic(
    name="events.rekeyed",
    partitions=2,
    key="source",
    description="events that came to another partition than their identity's, forwarded: as many partitions"
    " as events.raw",
)
CLEAN: Final = Topic(
    name="events.clean", partitions=2, key="source", description="normalised events", contract=Clean
)
DEAD: Final = Topic(
    name="events.dead",
    partitions=1,
    key="source",
    description="rejected events with reason and original bytes",
    retention_ms=28 * _DAY_MS,
    contract=Dead,
)
COPIES: Final = Topic(
    name="events.copies",
    partitions=1,
    key="stream",
    description="how many events were dropped as copies, of how many",
    contract=Copies,
    stored=False,
)
LABELS: Final = Topic(
    name="labels",
    partitions=2,
    key="source",
    description="ground truth",
    retention_ms=28 * _DAY_MS,
    contract=Label,
)
PREDICTIONS: Final = Topic(
    name="predictions", partitions=2, key="source", description="one answer per event", contract=Prediction
)
SHADOW: Final = Topic(
    name="predictions.shadow",
    partitions=2,
    key="source",
    description="answers that were not given: another version's, while a release is on trial",
    contract=Shadow,
)
ALERTS: Final = Topic(
    name="alerts.drift",
    partitions=1,
    key="stream",
    description="drift alerts",
    retention_ms=28 * _DAY_MS,
    contract=DriftAlert,
)
RELEASES: Final = Topic(
    name="models.releases",
    partitions=1,
    key="model",
    description="what serving follows: the newest release per model",
    compacted=True,
    contract=Release,
)
SWAPS: Final = Topic(
    name="models.swaps",
    partitions=1,
    key="model",
    description="when each worker began to serve a version",
    retention_ms=28 * _DAY_MS,
    contract=Swap,
)
LOOP: Final = Topic(
    name="models.loop",
    partitions=1,
    key="stream",
    description="transitions of the learning loop",
    retention_ms=28 * _DAY_MS,
    contract=Transition,
)
DEDUPE_LOG: Final = Topic(
    name="dedupe.log",
    partitions=2,
    key="-",
    description="fingerprints added per batch: the dedupe state's changelog, partitioned as events.raw",
    retention_ms=30 * _DAY_MS,
)

PARKED: Final = Topic(
    name="events.parked",
    partitions=2,
    key="as published",
    description="events of paused streams, as they came, until their stream is resumed: as many partitions as"
    " events.raw",
    retention_ms=28 * _DAY_MS,
)
CONTROL: Final = Topic(
    name="streams.control",
    partitions=1,
    key="scope/name",
    description="what operators paused, resumed and reset, by whom and why",
    compacted=True,
    contract=Control,
)
AUDIT: Final = Topic(
    name="audit",
    partitions=1,
    key="who",
    description="who changed something, or was refused, by the gateway",
    retention_ms=28 * _DAY_MS,
    contract=Audit,
)

TOPICS: Final = (
    RAW,
    REKEYED,
    PARKED,
    CLEAN,
    DEAD,
    COPIES,
    LABELS,
    PREDICTIONS,
    SHADOW,
    ALERTS,
    RELEASES,
    SWAPS,
    LOOP,
    DEDUPE_LOG,
    CONTROL,
    AUDIT,
)
