"""The contract of `headrace.toml`: what each stream is, how it is cleaned, judged, watched and taught.

Read by every part at its entry point (`infra.runtime.settings`) and passed down; nothing here reads a file.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from schemas.drift import Response
from schemas.record import Kind
from schemas.release import Task

PERSONAL_KINDS: Final = ("email", "phone", "card", "ip", "iban", "secret")
"""What can be found and masked inside any text; `secret` is passwords, keys and tokens."""

ATTRIBUTES: Final = ("method", "path", "status", "client_ip", "user_agent", "level", "logger", "host")
"""The attributes that clean events carry."""

_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration_s(value: Any) -> Any:
    """Read `"7d"`, `"5m"`, `"90s"`, `"250ms"` as seconds; a number is taken as seconds already."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value)
    if match is None:
        raise ValueError(
            f"{value!r} is no duration; write a number and ms, s, m, h or d, such as '7d' or '90s'"
        )
    return float(match[1]) * _UNIT_S[match[2]]


Duration = Annotated[float, BeforeValidator(duration_s), Field(gt=0)]


class Section(BaseModel):
    """Base of every section: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Dedupe(Section):
    """Exact duplicates, by `(source, id)`, within `window` of first sight (seconds; up to 30 days).

    `rekey` brings copies together that were published to different partitions: `auto` forwards an event
    that did not come to its source's partition, `always` spreads a stream by source and id (the order within
    a source is given up), `never` finds duplicates only within a partition.

    `content` also drops what repeats source, time and payload under another id. `near` above 0 finds texts
    that are at least so alike to one of the same source (0.8: a word of sixty characters changed): its event
    is flagged or dropped. Remembered are the last `near_texts` of a stream in a partition, for `near_window`.
    """

    window: Duration = Field(default=7 * 86400.0, le=30 * 86400.0)
    rekey: Literal["auto", "always", "never"] = "auto"
    content: bool = False
    near: float = Field(default=0.0, ge=0, le=1)
    near_action: Literal["flag", "drop"] = "flag"
    near_window: Duration = Field(default=3600.0, le=30 * 86400.0)
    near_texts: int = Field(default=16_384, ge=16, le=1_048_576)


class Cleaning(Section):
    """How an event is normalised.

    `utf8` repairs bytes that are no UTF-8 to U+FFFD. `html` strips markup from text; it is kept by default,
    since in requests and logs it is what an attack looks like. `text` is the Unicode form.

    `mask` names kinds of personal data (`PERSONAL_KINDS`), found wherever they stand in a text or attribute,
    and attributes that are personal as a whole; all are replaced before anything is stored, for good.
    `mask_fields` says for one field (an attribute, or `text`) which kinds are looked for there instead.

    `missing`: what becomes of a reading that is null or not a number. `decimal` is the decimal sign in
    numeric strings. `ranges` bound a reading, `units` are the stream's own; a reading out of its range is
    rejected, clipped to it, or dropped, which makes it a missing one. `outliers` is done to readings that
    the `outlier_method` finds further than `outlier_sigmas` deviations from what their source sent lately.

    An event older than `max_age` is rejected, accepted or given its arrival's time; so is one further than
    `max_future` ahead (never accepted: it would end every open window) and one without a time.
    `window` above 0 gives each clean event the last so many readings of its source, by name.
    """

    utf8: Literal["reject", "repair"] = "reject"
    html: Literal["keep", "strip"] = "keep"
    text: Literal["nfc", "nfkc", "keep"] = "nfc"
    mask: tuple[str, ...] = ("client_ip", "email", "card", "iban", "secret")
    mask_fields: dict[str, tuple[str, ...]] = {}
    missing: Literal["drop", "constant", "last", "mean", "median"] = "last"
    constant: float = 0.0
    decimal: Literal[".", ","] = "."
    units: dict[str, str] = {}
    ranges: dict[str, tuple[float, float]] = {}
    out_of_range: Literal["reject", "clip", "drop"] = "reject"
    outliers: Literal["flag", "clip", "reject", "off"] = "flag"
    outlier_method: Literal["hampel", "iqr", "z"] = "hampel"
    outlier_sigmas: float = Field(default=6.0, gt=0)
    max_bytes: int = Field(default=256 * 1024, gt=0)
    max_age: Duration = 10 * 365 * 86400.0
    too_old: Literal["reject", "accept", "arrival"] = "reject"
    max_future: Duration = 3600.0
    in_future: Literal["reject", "arrival"] = "reject"
    late_after: Duration = 3600.0
    missing_time: Literal["arrival", "reject"] = "arrival"
    window: int = Field(default=0, ge=0, le=4096)

    @field_validator("mask")
    @classmethod
    def _mask_is_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            _one_of(name, (*PERSONAL_KINDS, *ATTRIBUTES), "neither a kind of personal data nor an attribute")
        return names

    @field_validator("mask_fields")
    @classmethod
    def _mask_fields_are_known(cls, fields: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, kinds in fields.items():
            _one_of(name, (*ATTRIBUTES, "text"), "no field that is masked")
            for kind in kinds:
                _one_of(kind, PERSONAL_KINDS, "no kind of personal data")
        return fields

    @field_validator("ranges")
    @classmethod
    def _ranges_hold_something(cls, ranges: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in ranges.items():
            if not low <= high:
                raise ValueError(f"the range of {name!r} is empty: {low:g} to {high:g}")
        return ranges


def _one_of(name: str, known: Sequence[str], what: str) -> None:
    """Raise for a name that is not known, with the nearest that is."""
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ValueError(f"{name!r} is {what}; did you mean {near!r}? There are: {', '.join(known)}")


def _renamed_mode(value: Any) -> Any:
    return "top-k" if value == "top" else value


class Learn(Section):
    """How the model learns from the stream. `budget_runs_per_day` and `budget_s` bound what it may cost.

    `mode` says which weights of a text model are tuned: its head, also its `top_layers` last layers (`top-k`;
    `top` is the older name), also adapters of `rank` in every layer (`lora`), or all (`full`).

    `min_labels` labelled events are waited for before a training; an anomaly model, which learns without
    labels, waits for so many events.
    """

    mode: Annotated[Literal["head", "top-k", "lora", "full"], BeforeValidator(_renamed_mode)] = "head"
    top_layers: int = Field(default=2, ge=1)
    rank: int = Field(default=8, ge=1, le=256)
    replay: int = Field(default=5000, ge=0)
    recent: int = Field(default=4000, gt=0)
    min_labels: int = Field(default=300, gt=0)
    epochs: int = Field(default=30, gt=0)
    learning_rate: float = Field(default=2e-3, gt=0)
    budget_runs_per_day: int = Field(default=50, gt=0)
    budget_s: Duration = 600.0
    seed: int = 7


class Model(Section):
    """The model that judges a stream. `base` of a text model: `minilm`, a local path, or a hub id."""

    name: str = ""
    task: Literal[Task.CLASSIFICATION, Task.ANOMALY] = Task.CLASSIFICATION
    base: str = ""
    precision: Literal["auto", "fp32", "int8"] = "auto"
    labels: tuple[str, ...] = ()
    max_tokens: int = Field(default=64, ge=8, le=512)
    learn: Learn = Learn()


class ErrorDrift(Section):
    """Drift of the error rate on late labels. `delta` is the detectors' confidence parameter."""

    detector: Literal[
        "ensemble", "vote", "adwin", "hddm_w", "hddm_a", "kswin", "ddm", "eddm", "page_hinkley", "off"
    ] = "ensemble"
    delta: float = Field(default=0.001, gt=0, lt=1)
    min_labels: int = Field(default=100, ge=1)


class ShiftDrift(Section):
    """Drift of a distribution: each feature alone and, with `joint`, all together, over event-time windows.

    `detectors` are the tests that decide; `psi` is the least population stability index that matters, and the
    other tests have their own. Of what comes in (features of events), and of what the model answers (class
    shares, confidence). A window closes once events have come that are `lateness` younger than its end; what
    comes for it later is counted and left out.
    """

    detectors: tuple[Literal["psi", "ks", "wasserstein", "chi_squared", "jensen_shannon"], ...] = Field(
        default=("psi",), min_length=1
    )
    psi: float = Field(default=0.25, gt=0)
    joint: bool = True
    window: Duration = 60.0
    lateness: Duration = 1.0
    reference: int = Field(default=2000, ge=100)
    min_events: int = Field(default=300, ge=50)
    enabled: bool = True


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


class Drift(Section):
    """What is watched and what follows. `hysteresis` windows must agree before an alert; then `cooldown`.

    `alert` names the channels, of those that are set up, on which people are told. In the hours `quiet`
    (`"22:00-07:00"`, UTC) warnings wait for their end; what is critical does not.
    """

    error: ErrorDrift = ErrorDrift()
    input: ShiftDrift = ShiftDrift()
    prediction: ShiftDrift = ShiftDrift()
    estimate: EstimateDrift = EstimateDrift()
    quality: QualityDrift = QualityDrift()
    on_error: Response = Response.INCREMENT
    on_input: Response = Response.ALERT
    on_prediction: Response = Response.ALERT
    on_estimate: Response = Response.ALERT
    on_quality: Response = Response.ALERT
    hysteresis: int = Field(default=2, ge=1)
    cooldown: Duration = 60.0
    alert: tuple[Literal["alertmanager", "webhook", "email"], ...] = ("alertmanager", "webhook", "email")
    quiet: str = Field(default="", pattern=r"^(([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d)?$")


class Gate(Section):
    """What a candidate must show against the champion before it is released."""

    min_gain: float = 0.0
    max_forgetting: float = Field(default=0.01, ge=0)
    p99_ms: float = Field(default=50.0, gt=0)
    significance: float = Field(default=0.05, gt=0, lt=1)
    min_agreement: float = Field(default=0.97, ge=0, le=1)


class Stream(Section):
    """One stream: what comes in, what is done to it, who judges it and what is watched."""

    kind: Kind
    clean: Cleaning = Cleaning()
    dedupe: Dedupe = Dedupe()
    model: Model | None = None
    drift: Drift = Drift()
    gate: Gate = Gate()


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
    """How people are told of alerts. Every channel is on its own: one that is down delays no other."""

    webhook: Webhook = Webhook()
    alertmanager: Alertmanager = Alertmanager()
    email: Email = Email()


class Headrace(Section):
    """The whole file."""

    streams: dict[str, Stream]
    services: Services = Services()
    alerts: Alerts = Alerts()
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,80}$")
    database: str = Field(default="headrace", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,60}$")
