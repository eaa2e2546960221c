"""What the trainer announces on `models.releases`, and the manifest inside every release folder."""

from enum import StrEnum
from typing import Any

import msgspec

from schemas.record import Contract, Moment
from schemas.rollout import Rollout, RolloutStage


class Task(StrEnum):
    """What a model answers."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    ANOMALY = "anomaly"


class State(StrEnum):
    """What became of a candidate."""

    RELEASED = "released"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"


class TrainingRange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rows a model learnt from: enough to select them again in ClickHouse.

    `offsets` maps `topic:partition` to the first and last offset of the events used.
    """

    rows: int
    event_from: Moment
    event_to: Moment
    offsets: dict[str, tuple[int, int]] = {}
    replayed_rows: int = 0
    dataset_sha256: str = ""


class Manifest(Contract, frozen=True, kw_only=True):
    """`manifest.json`: what lies in a release folder and how to run it. Serving reads nothing else.

    `files` maps each file's name to its sha256; the release's own sha256 is that of the manifest file's
    bytes. `variants` maps a precision (`fp32`, `int8`) to its ONNX file, `serve` names the one to serve.
    `features` are the names (sensor) in input order; empty for text models, whose tokenizer is a file.
    `tokenizer` is the hash of what the tokenizer does, `golden_set` the version of the rows it was judged by.
    `thresholds` has the score from which on a row is an `anomaly`, or a regression's `tolerance`.
    """

    schema_version: int = 1
    model: str
    version: int
    stream: str
    task: Task
    family: str
    base: str
    labels: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    max_tokens: int = 0
    variants: dict[str, str]
    serve: str
    normaliser: dict[str, Any] = {}
    thresholds: dict[str, float] = {}
    metrics: dict[str, float] = {}
    parent: int | None = None
    alert: str | None = None
    training: TrainingRange | None = None
    golden: str = ""
    created_at: Moment
    files: dict[str, str]
    tokenizer: str = ""
    golden_set: str = ""


class Release(Contract, frozen=True, kw_only=True):
    """A release on `models.releases`: where its folder is, and whether to serve it.

    `served_before` are the versions that served before this one, the last one last: where a rollback goes.
    The topic is compacted, so each record carries what those before it said. `rollout` is set while the
    release is on trial; one in shadow or canary has the key `model/version`, since another one serves.
    """

    model: str
    stream: str
    version: int
    uri: str
    sha256: str
    state: State
    parent: int | None = None
    alert: str | None = None
    metrics: dict[str, float] = {}
    training: TrainingRange | None = None
    reasons: tuple[str, ...] = ()
    run_id: str = ""
    served_before: tuple[int, ...] = ()
    created_at: Moment
    rollout: Rollout | None = None

    @property
    def staged(self) -> bool:
        """Return whether it is in shadow or canary, so that another version still serves."""
        return (
            self.state is State.RELEASED
            and self.rollout is not None
            and self.rollout.stage is not RolloutStage.FULL
        )


def on_trial(champion: Release | None, staged: Release | None) -> Release | None:
    """Return which of a model's releases is on trial, if one is.

    A staged one counts as long as the version serves that it is compared with.
    """
    if champion is None:
        return None
    if staged is not None and staged.rollout is not None and staged.rollout.against == champion.version:
        return staged
    return champion if champion.rollout is not None else None


class Swap(Contract, frozen=True, kw_only=True):
    """The moment a worker began to serve a version: written by serving to `models.swaps`.

    `first_offsets` maps `topic:partition` to the first offset of `events.clean` this version answered.
    `outcome` is `swapped`, `answered`, `rejected`, `awaited` (its store does not answer; it is tried again),
    or the stage that a release on trial entered.
    """

    model: str
    stream: str
    version: int
    sha256: str
    worker: str
    first_offsets: dict[str, int]
    swapped_at: Moment
    load_ms: float = 0.0
    outcome: str = "swapped"
    message: str = ""


class Transition(Contract, frozen=True, kw_only=True):
    """One step of the learning loop of a stream, written to `models.loop`."""

    stream: str
    model: str
    state: str
    previous: str
    alert: str | None = None
    version: int | None = None
    message: str = ""
    at: Moment
