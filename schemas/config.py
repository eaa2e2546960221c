"""The contract of `headrace.toml`: what each stream is, how it is cleaned, judged, watched and taught.

Read by every part at its entry point (`infra.runtime.settings`) and passed down; nothing here reads a file.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from schemas.batches import Batches
from schemas.cleaning import Cleaning, Dedupe
from schemas.drift import Response
from schemas.gateway import GatewaySection
from schemas.hours import QuietHours
from schemas.record import Kind
from schemas.release import Task
from schemas.response import Responses, always
from schemas.rollout import By
from schemas.section import Duration, Section, duration_s
from schemas.store import ReleaseStore


def _renamed_mode(value: Any) -> Any:
    return "top-k" if value == "top" else value


class Learn(Section):
    """How the model learns from the stream. `budget_runs_per_day` and `budget_s` bound what it may cost.

    `mode` says which weights of a text model are tuned: its head, also its `top_layers` last layers (`top-k`;
    `top` is the older name), also adapters of `rank` in every layer (`lora`), or all (`full`).

    A training that becomes due in the hours `quiet` (`"08:00-18:00"`, UTC) waits for their end, unless an
    alert that asks for it is critical. One beyond the budget waits until the last 24 hours have a run less.

    `min_labels` labelled events are waited for before the first training; an anomaly model, which learns
    without labels, waits for so many events. After an alert `min_recent` of them since the drift are; another
    training follows with twice as many, and so on up to `recent`, the most that one learns from.

    Against forgetting, `distill` is what staying near the champion's soft answers counts beside the labels,
    `blend` the share of the champion's weights in the candidate's; 0 is off. With `recall` an earlier version
    that fits the recent labels again is brought back, and nothing is trained.

    `augment` makes variants of rare classes' training rows: `auto` where a class is rarer than one in
    `augment_ratio` of the largest, `on` for all but the largest. Texts are varied by `augment_with`: `eda`
    (words swapped, left out, masked), `synonyms` (near words of the base model), or a plug-in's name;
    readings by jitter and scaling. The newest `keep_datasets` keep their rows on disk.
    """

    mode: Annotated[Literal["head", "top-k", "lora", "full"], BeforeValidator(_renamed_mode)] = "head"
    top_layers: int = Field(default=2, ge=1)
    rank: int = Field(default=8, ge=1, le=256)
    replay: int = Field(default=5000, ge=0)
    distill: float = Field(default=1.0, ge=0)
    blend: float = Field(default=0.15, ge=0, lt=1)
    recall: bool = True
    recent: int = Field(default=4000, gt=0)
    min_labels: int = Field(default=300, gt=0)
    min_recent: int = Field(default=100, ge=20)
    epochs: int = Field(default=30, gt=0)
    learning_rate: float = Field(default=2e-3, gt=0)
    budget_runs_per_day: int = Field(default=50, gt=0)
    budget_s: Duration = 600.0
    augment: Literal["auto", "on", "off"] = "auto"
    augment_ratio: float = Field(default=10.0, gt=1)
    augment_with: str = Field(default="eda", pattern=r"^[A-Za-z0-9._-]+$")
    keep_datasets: int = Field(default=20, ge=1)
    quiet: QuietHours = ""
    seed: int = 7


class Model(Section):
    """The model that judges a stream. `base` of a text model: `minilm`, a local path, or a hub id.

    A regression answers readings with a number; its labels are the true numbers, such as a later reading (a
    forecast). An answer within `tolerance` of the truth is right; 0 takes what nine of ten answers of the
    first version kept to.

    While a worker cannot keep up, events of streams whose `priority` is high are answered before the others'.
    """

    name: str = ""
    task: Task = Task.CLASSIFICATION
    base: str = ""
    precision: Literal["auto", "fp32", "int8"] = "auto"
    labels: tuple[str, ...] = ()
    max_tokens: int = Field(default=64, ge=8, le=512)
    tolerance: float = Field(default=0.0, ge=0)
    priority: Literal["normal", "high"] = "normal"
    learn: Learn = Learn()

    @model_validator(mode="after")
    def _classes_are_a_classifiers(self) -> Self:
        if self.labels and self.task is not Task.CLASSIFICATION:
            raise ValueError(
                f"`labels` name the classes of a classification; this model's task is {self.task}"
            )
        if self.tolerance and self.task is not Task.REGRESSION:
            raise ValueError(f"`tolerance` is of a regression; this model's task is {self.task}")
        return self


class ErrorDrift(Section):
    """Drift of the error rate on late labels. `delta` is the detectors' confidence parameter."""

    detector: Literal[
        "ensemble", "vote", "adwin", "hddm_w", "hddm_a", "kswin", "ddm", "eddm", "page_hinkley", "off"
    ] = "ensemble"
    delta: float = Field(default=0.001, gt=0, lt=1)
    min_labels: int = Field(default=100, ge=1)


class ShiftDrift(Section):
    """Drift of distributions, feature by feature, over event-time windows.

    `detectors` are the tests that decide; `psi` is the least population stability index that matters, and the
    other tests have theirs. A window closes once events have come that are `lateness` younger than its end;
    what comes for it later is counted and left out.
    """

    detectors: tuple[Literal["psi", "ks", "wasserstein", "chi_squared", "jensen_shannon"], ...] = Field(
        default=("psi",), min_length=1
    )
    psi: float = Field(default=0.25, gt=0)
    window: Duration = 60.0
    lateness: Duration = 1.0
    reference: int = Field(default=2000, ge=100)
    min_events: int = Field(default=300, ge=50)
    enabled: bool = True


class InputDrift(ShiftDrift):
    """Drift of what comes in; with `joint`, all features of the events are also compared together."""

    joint: bool = True


class EstimateDrift(Section):
    """Drop of the accuracy that scores let expect, before labels say it (CBPE).

    The first `min_labels` judged answers of a version calibrate its scores; then every `min_events` answers
    are estimated. A drop is more than `margin` below what was estimated first.
    """

    min_labels: int = Field(default=300, ge=50)
    min_events: int = Field(default=300, ge=50)
    margin: float = Field(default=0.05, gt=0, lt=1)
    enabled: bool = True


class QualityDrift(Section):
    """Ratios of what cleaning did, over blocks of `min_events` events: rejected, missing, repaired, late, ….

    A ratio is worse when it rose by more than `margin`. `silence` is how long a source may send nothing
    before that is an alert; 0 means for ever.
    """

    min_events: int = Field(default=500, ge=50)
    margin: float = Field(default=0.02, gt=0, lt=1)
    silence: Annotated[float, BeforeValidator(duration_s), Field(ge=0)] = 0.0
    enabled: bool = True


class NoveltyDrift(Section):
    """Readings unlike any before, metric by metric: what their owner wants to know, not a drift of a model.

    `readings` names those that are watched, all where it is empty; `series` bounds how many metrics (readings
    of a source) are remembered. 0.5 is a reading that comes once in some 2,000 steady ones.
    """

    enabled: bool = False
    readings: tuple[str, ...] = ()
    threshold: float = Field(default=0.5, gt=0, le=1)
    series: int = Field(default=32, ge=1, le=10_000)


class Drift(Section):
    """What is watched and what follows. `hysteresis` windows must agree before an alert; then `cooldown`.

    What follows may depend on how severe it is: `on_error = { warning = "increment", critical = "retrain" }`.
    `alert` names the channels, of those that are set up, on which people are told. In the hours `quiet`
    (`"22:00-07:00"`, UTC) warnings wait for their end; what is critical does not.
    """

    error: ErrorDrift = ErrorDrift()
    input: InputDrift = InputDrift()
    prediction: ShiftDrift = ShiftDrift()
    estimate: EstimateDrift = EstimateDrift()
    quality: QualityDrift = QualityDrift()
    novelty: NoveltyDrift = NoveltyDrift()
    on_error: Responses = always(Response.INCREMENT)
    on_input: Responses = always(Response.ALERT)
    on_prediction: Responses = always(Response.ALERT)
    on_estimate: Responses = always(Response.ALERT)
    on_quality: Responses = always(Response.ALERT)
    hysteresis: int = Field(default=2, ge=1)
    cooldown: Duration = 60.0
    alert: tuple[Literal["alertmanager", "webhook", "email"], ...] = ("alertmanager", "webhook", "email")
    quiet: QuietHours = ""


class Gate(Section):
    """What a candidate must show against the champion before it is released.

    It gains `min_gain` or more on recent rows, and a paired test says at `significance` that it is better.
    Where too few rows differ for that, a gain of `clear_gain` on `clear_rows` or more is enough, if the test
    says that it is not worse by `clear_gain`. A negative `min_gain` accepts what is not worse by as much.

    On old rows, and on the `golden_rows` that the first training held out for good (0: none), it loses no
    more than `max_forgetting`. `p99_ms` bounds one answer, `min_agreement` is INT8's with FP32.
    """

    min_gain: float = Field(default=0.0, gt=-1, lt=1)
    clear_gain: float = Field(default=0.01, gt=0, lt=1)
    clear_rows: int = Field(default=1000, ge=1)
    max_forgetting: float = Field(default=0.01, ge=0)
    golden_rows: int = Field(default=300, ge=0, le=5000)
    p99_ms: float = Field(default=50.0, gt=0)
    significance: float = Field(default=0.05, gt=0, lt=1)
    min_agreement: float = Field(default=0.97, ge=0, le=1)


class Rollout(Section):
    """How a release comes into service, and what takes it out again.

    With `rollback` the version before it goes on answering a share `mirror` of the events aside for `window`.
    A release that is worse, by labels on both answers, by answers it cannot give or by those over the gate's
    `p99_ms`, is rolled back by itself; `significance` bounds the chance of one that is not worse. Where no
    event was answered by both, it is compared with what the version before showed in the `window` before.

    With `shadow` a release first answers every event aside; with a `canary` share it then answers that share,
    drawn `by` id or by source. Each takes a `window` at least, and until `min_labels` have come.
    """

    rollback: bool = True
    mirror: float = Field(default=0.2, ge=0, le=1)
    window: Duration = 600.0
    min_labels: int = Field(default=50, ge=1)
    significance: float = Field(default=0.001, gt=0, lt=0.5)
    shadow: bool = False
    canary: float = Field(default=0.0, ge=0, le=1)
    by: By = By.ID


class Stream(Section):
    """One stream: what comes in, what is done to it, who judges it and what is watched."""

    kind: Kind
    clean: Cleaning = Cleaning()
    dedupe: Dedupe = Dedupe()
    model: Model | None = None
    drift: Drift = Drift()
    gate: Gate = Gate()
    rollout: Rollout = Rollout()


class Services(Section):
    """Addresses of existing services; empty means the local stack's own."""

    kafka: str = ""
    redis: str = ""
    clickhouse: SecretStr = SecretStr("")


class Webhook(Section):
    """Where alerts are posted (Slack-compatible JSON)."""

    url: SecretStr = SecretStr("")
    timeout: Duration = 5.0


class Alertmanager(Section):
    """Prometheus' Alertmanager, by its API v2; it expects standing alerts again every `repeat`."""

    url: SecretStr = SecretStr("")
    timeout: Duration = 5.0
    repeat: Duration = 60.0


class Email(Section):
    """Where alerts are mailed, by SMTP; none without a `host`. The password may come from the environment."""

    host: str = ""
    port: int = Field(default=587, gt=0, lt=65536)
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: SecretStr = SecretStr("")
    sender: str = ""
    to: tuple[str, ...] = ()
    timeout: Duration = 10.0

    @model_validator(mode="after")
    def _somebody_is_written_to(self) -> Self:
        if self.host and not (self.sender and self.to):
            raise ValueError("e-mail needs `sender` and `to` beside `host`")
        return self


class Alerts(Section):
    """How people are told of alerts. Every channel is on its own: one that is down delays no other.

    Each alert has a page, `drift/alerts/ID.html` in the data folder. `page_url` is the address under which
    that folder is served, if it is; messages then name the page there.
    """

    page_url: str = Field(default="", pattern=r"^(https?://\S+)?$")

    webhook: Webhook = Webhook()
    alertmanager: Alertmanager = Alertmanager()
    email: Email = Email()


class Headrace(Section):
    """The whole file. `schemas.hot` says which keys running workers take over."""

    streams: dict[str, Stream]
    services: Services = Services()
    alerts: Alerts = Alerts()
    gateway: GatewaySection = GatewaySection()
    batches: Batches = Batches()
    log_level: Literal["", "debug", "info", "warning", "error"] = ""
    releases: ReleaseStore = ReleaseStore()
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,80}$")
    database: str = Field(default="headrace", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,60}$")

    @model_validator(mode="after")
    def _a_model_has_one_priority(self) -> Self:
        """One order of answers a model: else its versions could not be told by offsets."""
        known: dict[str, tuple[str, str]] = {}
        for name, stream in self.streams.items():
            if stream.model is not None:
                model, priority = stream.model.name or name, stream.model.priority
                other, theirs = known.setdefault(model, (name, priority))
                if theirs != priority:
                    raise ValueError(
                        f"streams {other!r} and {name!r} share model {model!r}: give both the same `priority`"
                    )
        return self
